"""Measures the delivery of data from a file to the learner.

Run `python -m acme_msg.experiments.benchmark.data`. The data has AntMaze's
shape (29 and 8 numbers, episodes of 1,000 steps) and D4RL's layout. The server
is another process, as in a program. Compared methods take turns, and the median
over the rounds is printed.
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

from absl import flags

from ... import command_help

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
            # h5py's default chunks.
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
  """Returns the peak memory of this process."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# Functions that run in the server's process.


def _load(path: str, in_blocks: bool):
  from ...datasets import delivery
  from ...datasets import loading
  from ...datasets import sources
  from ...datasets.delivery import server
  source = sources.find(path)
  make = loading.transition_blocks if in_blocks else loading.load
  return server.Server(delivery.make_store(make(source)), num_readers=1)


def _serve_items(size: int) -> Any:
  """Starts a Reverb server of single transitions, written by Acme's adder."""
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
  vector = lambda size: np.asarray(rng.standard_normal(size), np.float32)
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
  """Answers the calls of a `_Node` until it sends None."""
  node: Any = None
  functions: dict[str, Callable[..., Any]] = {
      'load': _load, 'serve_items': _serve_items}
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
  """A server in another process, as the learner's process sees it."""

  def __init__(self):
    context = multiprocessing.get_context('spawn')
    self._connection, remote = context.Pipe()
    self._process = context.Process(target=_run_node, args=(remote,))
    self._process.start()
    remote.close()  # Else the end of the process is not noticed.
    self._connection.recv()

  def __getattr__(self, method: str):
    def call(*args):
      self._connection.send((method, args))
      return self._connection.recv()
    return call

  def end(self):
    self._connection.send(None)
    self._process.join()


# Measurements.


def _race(methods: dict[str, Callable[[], float]]) -> dict[str, float]:
  """Returns each method's median; methods take turns."""
  found: dict[str, list[float]] = {name: [] for name in methods}
  for _ in range(_ROUNDS.value):
    for name, run in methods.items():
      found[name].append(run())
  return {name: statistics.median(values) for name, values in found.items()}


def _measure_resident(folder: str):
  """Compares two ways into device memory: h5py and a copy; the data node."""
  import h5py
  import jax

  from ...datasets import delivery
  from ...datasets import loading
  from ...datasets import sources
  node = _Node()

  def seconds(run):
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start

  for kind, compression in (('gzip, as D4RL ships', 'gzip'), ('plain', None)):
    path = os.path.join(folder, f'{compression}.hdf5')
    _write_file(path, _NUM_TRANSITIONS.value, compression)

    transitions = loading.load(sources.find(path))

    def read_alone(path=path, transitions=transitions):
      with h5py.File(path, 'r') as file:
        _ = {name: file[name][()] for name in file}
      return jax.device_put(transitions)

    def through_node(path=path):
      node.load(path, False)
      return jax.device_put(delivery.make_resident_dataset(node))

    found = _race({'alone': lambda: seconds(read_alone),
                   'node': lambda: seconds(through_node)})
    print(f'| {kind} | {found["alone"]:.2f} | {found["node"]:.2f} | '
          f'{found["node"] / found["alone"]:.2f} |', flush=True)
  node.end()


def _rate(batches: Iterator[Any], size: int) -> float:
  """Returns an iterator's rate in millions of transitions per second."""
  next(batches)
  start, count = time.perf_counter(), 0
  while time.perf_counter() - start < _SECONDS.value:
    next(batches)
    count += 1
  return count * size / (time.perf_counter() - start) / 1e6


def _measure_stream(folder: str):
  """Compares streamed batches with Acme's, which sample single transitions."""
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
  """Trains MSG on a server's data; returns the share of time spent waiting."""
  from acme.utils import loggers
  import jax

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
  """Measures the time that a learner waits for data, in percent."""
  path = os.path.join(folder, 'idle.hdf5')
  _write_file(path, _NUM_TRANSITIONS.value)
  node = _Node()
  node.load(path, True)
  # A learner of resident data never waits: its program draws the minibatches.
  print(f'| idle | {100 * _train(node, "stream"):.2f} % |', flush=True)
  node.end()


def _measure_memory(folder: str):
  """Measures the peak memory of both processes on a large dataset."""
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
  """Measures the parts that the flags name; prints a table row for each."""
  del argv
  parts = {'resident': _measure_resident, 'stream': _measure_stream,
           'idle': _measure_idle, 'memory': _measure_memory}
  with tempfile.TemporaryDirectory() as folder:
    for part in _PARTS.value:
      parts[part](folder)


if __name__ == '__main__':
  command_help.run(main, {
      'Data': ('num_transitions', 'gibibytes'),
      'Measurement': ('part', 'rounds', 'seconds', 'num_steps'),
  })
