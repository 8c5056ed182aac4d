"""Measures the delivery of data from a file to the learner.

Run `python -m acme_msg.experiments.benchmark.data`. The data has AntMaze's
shape (29 and 8 numbers, episodes of 1,000 steps) and D4RL's layout. The server
is another process, as in a program. Compared methods take turns, and the median
over the rounds is printed.
"""

if __name__ in ('__main__', '__mp_main__'):  # The latter in its children.
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import functools
import multiprocessing
from multiprocessing import managers
import os
import resource
import tempfile
import time
from typing import Any, Iterator

from absl import flags
from acme.adders import reverb as adders
from acme.datasets import reverb as acme_reverb
from acme.utils import loggers
import dm_env
import h5py
import jax
import numpy as np
import reverb

from . import common
from ... import builders
from ... import command_help
from ...agents import msg
from ...datasets import delivery
from ...datasets import loading
from ...datasets import sources
from ...datasets.delivery import server

_PARTS = flags.DEFINE_multi_enum(
    'part', ['resident', 'stream', 'idle', 'memory'],
    ['resident', 'stream', 'idle', 'memory'], 'What to measure.')
_NUM_TRANSITIONS = flags.DEFINE_integer(
    'num_transitions', 1_000_000,
    'Size of the dataset, except for `memory`.')
_GIBIBYTES = flags.DEFINE_float(
    'gibibytes', 8.,
    'Size of the file of `memory`; needs three times as much disk space.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of each method.')
_SECONDS = flags.DEFINE_float('seconds', 5., 'Duration of a round of a stream.')
_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 30, 'Timed learner steps of `idle` and `memory`.')

_OBSERVATION_SIZE, _ACTION_SIZE, _EPISODE = 29, 8, 1000
_SPEC = common.environment_spec(_OBSERVATION_SIZE, _ACTION_SIZE)
_ROW_BYTES = 4 * (_OBSERVATION_SIZE + _ACTION_SIZE + 1) + 2
_BLOCK = 100_000


def _write_file(path: str, num_rows: int, compression=None):
  """Writes random rows in D4RL's layout, block by block."""
  rng = np.random.default_rng(0)
  with h5py.File(path, 'w') as file:
    for start in range(0, num_rows, _BLOCK):
      stop = min(start + _BLOCK, num_rows)
      size = stop - start
      for name, values in {
          'observations': rng.standard_normal(
              (size, _OBSERVATION_SIZE), np.float32),
          'actions': np.tanh(rng.standard_normal(
              (size, _ACTION_SIZE), np.float32)),
          'rewards': np.float32(rng.random(size) < .01),
          'terminals': np.zeros(size, bool),
          'timeouts': np.arange(start, stop) % _EPISODE == _EPISODE - 1,
      }.items():
        file.require_dataset(
            name, (num_rows, *values.shape[1:]), values.dtype,
            compression=compression)[start:stop] = values


def _peak_mebibytes() -> float:
  """Returns the peak memory of this process."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Node(server.Server):
  """The server of a file."""

  def __init__(self, path: str, in_blocks: bool):
    read = loading.transition_blocks if in_blocks else loading.load
    super().__init__(
        delivery.make_store(read(sources.find(path))), num_readers=1)

  def peak_mebibytes(self) -> float:
    return _peak_mebibytes()


class _Items(reverb.Server):
  """A server of single transitions, written by Acme's adder."""

  def __init__(self, size: int):
    super().__init__([reverb.Table(
        adders.DEFAULT_PRIORITY_TABLE, reverb.selectors.Uniform(),
        reverb.selectors.Fifo(), size, reverb.rate_limiters.MinSize(1),
        signature=adders.NStepTransitionAdder.signature(_SPEC))])
    adder = adders.NStepTransitionAdder(self.localhost_client(), 1, 1.)
    rng = np.random.default_rng(0)
    vector = lambda size: rng.standard_normal(size, np.float32)
    adder.add_first(dm_env.restart(vector(_OBSERVATION_SIZE)))
    for _ in range(size):
      adder.add(vector(_ACTION_SIZE), dm_env.transition(
          np.float32(0), vector(_OBSERVATION_SIZE), np.float32(1)))

  def address(self) -> str:
    return f'localhost:{self.port}'


class _Process(managers.BaseManager):
  """A process of servers; proxies call them."""


_Process.register('node', _Node)
_Process.register('items', _Items)


def _measure_resident(process: Any, folder: str):
  """Compares two ways into device memory: h5py and a copy; the data node."""
  for kind, compression in (('gzip, as D4RL ships', 'gzip'), ('plain', None)):
    path = os.path.join(folder, f'{compression}.hdf5')
    _write_file(path, _NUM_TRANSITIONS.value, compression)
    transitions = loading.load(sources.find(path))

    def read_alone(path=path, transitions=transitions):
      with h5py.File(path, 'r') as file:
        _ = {name: file[name][()] for name in file}
      return jax.device_put(transitions)

    def through_node(path=path):
      return jax.device_put(
          delivery.make_resident_dataset(process.node(path, False)))

    found = common.race({
        method.__name__: functools.partial(common.seconds, method)
        for method in (read_alone, through_node)}, _ROUNDS.value)
    alone, node = found.values()
    print(f'| {kind} | {alone:.2f} | {node:.2f} | {node / alone:.2f} |',
          flush=True)


def _rate(batches: Iterator[Any], size: int) -> float:
  """Returns an iterator's rate in millions of transitions per second."""
  next(batches)
  start, count = time.perf_counter(), 0
  while time.perf_counter() - start < _SECONDS.value:
    next(batches)
    count += 1
  return count * size / (time.perf_counter() - start) / 1e6


def _measure_stream(process: Any, folder: str):
  """Compares streamed batches with Acme's, which sample single transitions."""
  path = os.path.join(folder, 'stream.hdf5')
  _write_file(path, _NUM_TRANSITIONS.value)
  node, items = process.node(path, True), process.items(50_000)

  def ours():
    stream = delivery.make_stream(node, batch_size=25_600)
    rate = _rate(stream, 25_600)
    stream.close()
    return rate

  def acmes():
    return _rate(acme_reverb.make_reverb_dataset(
        server_address=items.address(), batch_size=256,
        prefetch_size=4).as_numpy_iterator(), 256)

  found = common.race({'ours': ours, 'acmes': acmes}, _ROUNDS.value)
  print(f'| stream | {found["ours"]:.2f} | {found["acmes"]:.3f} | '
        f'{found["ours"] / found["acmes"]:.0f} |', flush=True)
  node.stop()


def _measure_learner(process: Any, folder: str, part: str, num_rows: int):
  """Trains MSG; prints peaks of memory and the share of time spent waiting.

  A learner of resident data never waits: its program draws the minibatches.
  """
  path = os.path.join(folder, f'{part}.hdf5')
  _write_file(path, num_rows)
  start = time.perf_counter()
  node = process.node(path, True)
  loaded = time.perf_counter() - start
  config = msg.MSGConfig(
      ensemble_size=4, num_bc_iters=0, num_sgd_steps_per_step=20)
  builder = builders.MSGBuilder(config)
  stream = delivery.make_stream(node, builder.transitions_per_step)
  waited = 0.

  def timed():
    nonlocal waited
    while True:
      start = time.perf_counter()
      batch = next(stream)
      waited += time.perf_counter() - start
      yield batch

  learner = builder.make_learner(
      jax.random.PRNGKey(0), builders.make_msg_networks(_SPEC, config), timed(),
      lambda *_, **__: loggers.NoOpLogger(), _SPEC)
  for _ in range(2):
    learner.step()
  waited, start = 0., time.perf_counter()
  for _ in range(_NUM_STEPS.value):
    learner.step()
  idle = waited / (time.perf_counter() - start)
  print(f'| {part} | {os.path.getsize(path) / 2**30:.1f} GiB, '
        f'{node.num_transitions():,} transitions | loaded in {loaded:.0f} s | '
        f'data node {node.peak_mebibytes():.0f} MiB | learner '
        f'{_peak_mebibytes():.0f} MiB | idle {100 * idle:.2f} % |', flush=True)
  node.stop()


def main(_):
  """Measures the parts that the flags name; prints a table row for each."""
  num_rows = {'idle': _NUM_TRANSITIONS.value,
              'memory': int(_GIBIBYTES.value * 2**30 / _ROW_BYTES)}
  for part in _PARTS.value:
    with (tempfile.TemporaryDirectory() as folder,
          _Process(ctx=multiprocessing.get_context('spawn')) as process):
      if part == 'resident':
        _measure_resident(process, folder)
      elif part == 'stream':
        _measure_stream(process, folder)
      else:
        _measure_learner(process, folder, part, num_rows[part])


if __name__ == '__main__':
  command_help.run(main, {
      'Data': ('num_transitions', 'gibibytes'),
      'Measurement': ('part', 'rounds', 'seconds', 'num_steps'),
  })
