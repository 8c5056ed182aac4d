"""Measures the data's way: `python -m acme_msg.experiments.benchmark.data`.

The data has AntMaze's shape (29 and 8 numbers, episodes of 1,000 steps) and
D4RL's layout. Whoever serves it is another process, as in a program. Ways that
are compared take turns, and the median of the rounds is printed.
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from typing import Any, Callable, Iterator

from absl import app
from absl import flags

_PARTS = flags.DEFINE_multi_enum(
    'part', ['resident', 'stream', 'idle', 'memory'],
    ['resident', 'stream', 'idle', 'memory'], 'What to measure.')
_NUM_TRANSITIONS = flags.DEFINE_integer(
    'num_transitions', 1_000_000, 'Of the dataset, but for `memory`.')
_GIBIBYTES = flags.DEFINE_float(
    'gibibytes', 8., 'Size of the file of `memory`; thrice that is needed.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each way.')
_SECONDS = flags.DEFINE_float('seconds', 5., 'Of each turn of a stream.')
_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 30, 'Timed learner steps of `idle` and `memory`.')

_OBSERVATION_SIZE, _ACTION_SIZE, _EPISODE = 29, 8, 1000
_BLOCK = 100_000


def _write_file(path: str, num_rows: int, compression=None):
  """Writes random rows in D4RL's layout, block by block."""
  import h5py
  import numpy as np
  rng = np.random.default_rng(0)
  shapes = {'observations': (_OBSERVATION_SIZE,), 'actions': (_ACTION_SIZE,),
            'rewards': (), 'terminals': (), 'timeouts': ()}
  with h5py.File(path, 'w') as file:
    fields = {
        name: file.create_dataset(
            name, (num_rows,) + shape,
            'f4' if name not in ('terminals', 'timeouts') else '?',
            # As h5py cuts it up for a writer that does not say how.
            chunks=True if compression else None, compression=compression)
        for name, shape in shapes.items()}
    for start in range(0, num_rows, _BLOCK):
      rows = slice(start, min(start + _BLOCK, num_rows))
      size = rows.stop - start
      fields['observations'][rows] = rng.standard_normal(
          (size, _OBSERVATION_SIZE), np.float32)
      fields['actions'][rows] = np.tanh(rng.standard_normal(
          (size, _ACTION_SIZE), np.float32))
      fields['rewards'][rows] = rng.random(size) < .01
      fields['timeouts'][rows] = (
          np.arange(start, rows.stop) % _EPISODE == _EPISODE - 1)


def _peak_mebibytes() -> float:
  """The most memory that this process has had."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# What runs in the process that serves.


def _load(path: str, in_blocks: bool):
  from ...datasets import delivery
  from ...datasets import sources
  from ...datasets.delivery import server
  source = sources.find(path)
  make = sources.transition_blocks if in_blocks else sources.load
  return server.Server(delivery.make_store(make(source)), num_readers=1)


def _serve_items(size: int) -> Any:
  """Starts a server of single transitions, written by Acme's adder."""
  from acme.adders import reverb as adders
  import dm_env
  import numpy as np
  import reverb
  table = reverb.Table(
      adders.DEFAULT_PRIORITY_TABLE, reverb.selectors.Uniform(),
      reverb.selectors.Fifo(), size, reverb.rate_limiters.MinSize(1),
      signature=adders.NStepTransitionAdder.signature(_spec()))
  server = reverb.Server([table])
  adder = adders.NStepTransitionAdder(server.localhost_client(), 1, 1.)
  rng = np.random.default_rng(0)
  vector = lambda size: rng.standard_normal(size).astype(np.float32)
  adder.add_first(dm_env.restart(vector(_OBSERVATION_SIZE)))
  for _ in range(size):
    adder.add(vector(_ACTION_SIZE), dm_env.transition(
        np.float32(0), vector(_OBSERVATION_SIZE), np.float32(1)))
  return server


def _spec() -> Any:
  """Returns AntMaze's environment spec."""
  from acme import specs
  import numpy as np
  return specs.EnvironmentSpec(
      observations=specs.Array((_OBSERVATION_SIZE,), np.float32),
      actions=specs.BoundedArray((_ACTION_SIZE,), np.float32, -1., 1.),
      rewards=specs.Array((), np.float32),
      discounts=specs.BoundedArray((), np.float32, 0., 1.))


def _run_node(connection):
  """Answers calls of the node, once there is one."""
  node = None
  functions = {'load': _load, 'serve_items': _serve_items}
  connection.send('ready')
  while (call := connection.recv()) is not None:
    method, args = call
    if method in functions:
      node = functions[method](*args)
      connection.send(None)
    elif method == 'peak':
      connection.send(_peak_mebibytes())
    elif method == 'port':
      connection.send(node.port)
    else:
      connection.send(getattr(node, method)(*args))
  node.stop()


class _Node:
  """The process that serves, seen from the one that learns."""

  def __init__(self):
    context = multiprocessing.get_context('spawn')
    self._connection, remote = context.Pipe()
    self._process = context.Process(target=_run_node, args=(remote,))
    self._process.start()
    remote.close()  # So that the end of the process is noticed.
    self._connection.recv()

  def __getattr__(self, method: str):
    def call(*args):
      self._connection.send((method, args))
      return self._connection.recv()
    return call

  def end(self):
    self._connection.send(None)
    self._process.join()


# What is measured.


def _race(ways: dict[str, Callable[[], float]]) -> dict[str, float]:
  """The median of each way's figures, over rounds in which they take turns."""
  found = {name: [] for name in ways}
  for _ in range(_ROUNDS.value):
    for name, run in ways.items():
      found[name].append(run())
  return {name: statistics.median(values) for name, values in found.items()}


def _measure_resident(folder: str):
  """From a file to device memory: h5py alone and the copy, and our way."""
  import h5py
  import jax
  from ...datasets import delivery
  from ...datasets import sources
  node = _Node()

  def seconds(run):
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start

  for kind, compression in (('gzip, as D4RL ships', 'gzip'), ('plain', None)):
    path = os.path.join(folder, f'{compression}.hdf5')
    _write_file(path, _NUM_TRANSITIONS.value, compression)

    transitions = sources.load(sources.find(path))

    def read_alone():
      with h5py.File(path, 'r') as file:
        _ = {name: file[name][()] for name in file}
      return jax.device_put(transitions)

    def through_node():
      node.load(path, False)
      return jax.device_put(delivery.make_resident_dataset(node))

    found = _race({'alone': lambda: seconds(read_alone),
                   'node': lambda: seconds(through_node)})
    print(f'| {kind} | {found["alone"]:.2f} | {found["node"]:.2f} | '
          f'{found["node"] / found["alone"]:.2f} |', flush=True)
  node.end()


def _rate(batches: Iterator[Any], size: int) -> float:
  """Millions of transitions per second that an iterator gives."""
  next(batches)
  start, count = time.perf_counter(), 0
  while time.perf_counter() - start < _SECONDS.value:
    next(batches)
    count += 1
  return count * size / (time.perf_counter() - start) / 1e6


def _measure_stream(folder: str):
  """Batches of 256 times 100, against Acme's of one transition per item."""
  from acme.datasets import reverb as acme_reverb
  from ...datasets import delivery
  path = os.path.join(folder, 'stream.hdf5')
  _write_file(path, _NUM_TRANSITIONS.value)
  node, items = _Node(), _Node()
  node.load(path, True)
  items.serve_items(50_000)
  address = f'localhost:{items.port()}'

  def ours():
    stream = delivery.make_stream(node, batch_size=25_600)
    rate = _rate(stream, 25_600)
    stream.close()
    return rate

  def acmes():
    return _rate(acme_reverb.make_reverb_dataset(
        server_address=address, batch_size=256,
        prefetch_size=4).as_numpy_iterator(), 256)

  found = _race({'ours': ours, 'acmes': acmes})
  print(f'| stream | {found["ours"]:.2f} | {found["acmes"]:.3f} | '
        f'{found["ours"] / found["acmes"]:.0f} |', flush=True)
  node.end()
  items.end()


def _train(node: _Node, mode: str) -> float:
  """Trains MSG on a node's data; returns the share of time without data."""
  import jax
  from acme.utils import loggers
  from ... import builders
  from ...agents import msg
  from ...datasets import delivery
  config = msg.MSGConfig(
      ensemble_size=4, num_bc_iters=0, num_sgd_steps_per_step=20)
  spec = _spec()
  builder = builders.MSGBuilder(config)
  waited = 0.

  def timed(batches):
    nonlocal waited
    while True:
      start = time.perf_counter()
      batch = next(batches)
      waited += time.perf_counter() - start
      yield batch

  if mode == 'stream':
    dataset = delivery.make_stream(node, builder.transitions_per_step)
    batches = timed(dataset)
  else:
    batches = delivery.make_resident_dataset(node)
  learner = builder.make_learner(
      jax.random.PRNGKey(0), builders.make_msg_networks(spec, config), batches,
      lambda *_, **__: loggers.NoOpLogger(), spec)
  for _ in range(2):
    learner.step()
  waited, start = 0., time.perf_counter()
  for _ in range(_NUM_STEPS.value):
    learner.step()
  return waited / (time.perf_counter() - start)


def _measure_idle(folder: str):
  """The time that a learner waits for data, in percent of its time."""
  path = os.path.join(folder, 'idle.hdf5')
  _write_file(path, _NUM_TRANSITIONS.value)
  node = _Node()
  node.load(path, True)
  # Resident data is drawn from inside the compiled steps.
  print(f'| idle | {100 * _train(node, "stream"):.2f} % |', flush=True)
  node.end()


def _measure_memory(folder: str):
  """The most memory of either process on a dataset of any size."""
  path = os.path.join(folder, 'large.hdf5')
  row_bytes = 4 * (_OBSERVATION_SIZE + _ACTION_SIZE + 1) + 2
  _write_file(path, int(_GIBIBYTES.value * 2**30 / row_bytes))
  node = _Node()
  start = time.perf_counter()
  node.load(path, True)
  loaded = time.perf_counter() - start
  idle = _train(node, 'stream')
  print(f'| memory | {os.path.getsize(path) / 2**30:.1f} GiB, '
        f'{node.num_transitions():,} transitions | loaded in {loaded:.0f} s | '
        f'data node {node.peak():.0f} MiB | learner {_peak_mebibytes():.0f} '
        f'MiB | idle {100 * idle:.2f} % |', flush=True)
  node.end()


def main(argv):
  """Measures what the flags ask for, and prints a line of a table for each."""
  del argv
  parts = {'resident': _measure_resident, 'stream': _measure_stream,
           'idle': _measure_idle, 'memory': _measure_memory}
  with tempfile.TemporaryDirectory() as folder:
    for part in _PARTS.value:
      parts[part](folder)


if __name__ == '__main__':
  app.run(main)
