"""Delivers transitions from the process that read them to the learners.

A learner gets either a *resident dataset*, the whole dataset in its memory, or
a *stream* of shuffled minibatches of a dataset of any size. Both come from a
store in the same process or, through Reverb, from a server in another one, and
are the same bit by bit.

Glossary:

* **store**: T transitions in memory or in a temporary file, readable at any
  row.
* **server**: a store and a Reverb server with one bounded table per reader.
* **reader**: one of the processes that get data; number i of `num_readers`.
  Each reader gets the whole resident dataset, or its share of each epoch.
* **slice**: 32 consecutive transitions, which stay together until they reach
  the shuffle buffer.
* **chunk**: up to 128 slices, packed; one Reverb item.
* **shuffle buffer**: the transitions of several chunks, shuffled together.
* **epoch**: one pass over the dataset; each transition goes to one reader.

The shuffle has two levels (docs/msg.md 8.3): the slices of the dataset are
permuted for each epoch and dealt to the readers, and each reader permutes the
transitions of its shuffle buffer. The order depends on the seed, the epoch and
the reader alone, so that a position in a stream is an epoch and a row.
"""

from .make import example
from .make import make_resident_dataset
from .make import make_stream
from .make import Source
from .store import Dataset
from .store import make_store
from .store import Store
from .stream import SHUFFLE_BUFFER
from .stream import Stream

__all__ = (
    'Dataset',
    'SHUFFLE_BUFFER',
    'Source',
    'Store',
    'Stream',
    'example',
    'make_resident_dataset',
    'make_store',
    'make_stream',
)
