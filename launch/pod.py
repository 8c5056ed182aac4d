"""Runs an experiment on many hosts: the same command on each of them.

`python -m acme_msg.launch.pod`, on all workers of a TPU slice or as the tasks
of a SLURM job, finds the hosts in the environment. Elsewhere
`--coordinator_address`, `--num_processes` and `--process_id` name them.

Each host runs its own program with one of the learner's processes. The program
of host 0 also has the data node and the evaluators.
"""

if __name__ == '__main__':
  from . import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import dataclasses
import functools
from typing import Any, NamedTuple, Optional

from absl import flags
from jax._src import clusters  # Has no public name.
import launchpad as lp

from . import calls
from . import command_line
from . import dry_run
from . import experiment_config
from . import hosts
from . import launchpad_program
from . import learner_node
from . import local
from . import run_directory
from . import run_lock

FLAGS = flags.FLAGS

# Key under which host 0 tells the others the data node's address and secret.
_DATA = 'data'
_TELLING_SECS = 60.


class Host(NamedTuple):
  """One of the hosts.

  Attributes:
    coordinator_address: 'host:port' at which the hosts meet, on host 0.
    count: H, the number of hosts.
    index: this host's index.
  """
  coordinator_address: str
  count: int  # type: ignore[assignment]  # Hides tuple's methods.
  index: int  # type: ignore[assignment]

  @property
  def first(self) -> str:
    """The name under which the other hosts reach host 0."""
    return self.coordinator_address.rpartition(':')[0]


def find_host(coordinator_address: Optional[str] = None,
              num_processes: Optional[int] = None,
              process_id: Optional[int] = None) -> Host:
  """Returns which host this is, before JAX is initialized.

  Give all arguments or none. Without arguments, JAX reads the hosts from the
  environment: the metadata of a TPU slice, SLURM or Open MPI.

  Args:
    coordinator_address: 'host:port' on the machine of process 0.
    num_processes: H.
    process_id: this host's index.

  Raises:
    ValueError: if some arguments are missing or not valid, or if there are none
      and the environment does not name the hosts.
  """
  given = {'coordinator_address': coordinator_address,
           'num_processes': num_processes, 'process_id': process_id}
  missing = [name for name, value in given.items() if value is None]
  if len(missing) == len(given):
    return _find_in_environment()
  if missing:
    raise ValueError(
        f'{" and ".join(missing)} must be given as well: give all of '
        f'{", ".join(given)}, or none to use the environment.')
  if not 0 <= process_id < num_processes:
    raise ValueError(f'process_id={process_id} must be at least 0 and less '
                     f'than num_processes={num_processes}.')
  if not coordinator_address.rpartition(':')[2].isdigit():
    raise ValueError(f'coordinator_address={coordinator_address!r} must be '
                     "'host:port'.")
  return Host(coordinator_address, num_processes, process_id)


def _find_in_environment() -> Host:
  try:
    *found, _ = clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, initialization_timeout=300)
  except (KeyError, RuntimeError, ValueError) as e:
    raise ValueError(
        f'The environment does not tell which hosts there are: {e!r}. Give '
        '--coordinator_address, --num_processes and --process_id.') from e
  if None in found:
    raise ValueError(
        'This is no worker of a TPU slice and no task of SLURM or Open MPI: '
        'give --coordinator_address, --num_processes and --process_id.')
  return Host(*found)  # type: ignore[arg-type]


def _join(host: Host, secret: str, unused_index: int, data: lp.Address,
          unused_learner: lp.Address) -> hosts.Hosts:
  """Joins as host 0, and tells the others how to call the data node."""
  joined = hosts.join(*host)
  port = data.resolve().rpartition(':')[2]
  hosts.tell(_DATA, f'{host.first}:{port} {secret}')
  return joined


class _DataOfFirstHost:
  """A client of host 0's data node; works once the hosts have joined."""

  def __getattr__(self, method: str) -> Any:
    if method.startswith('_'):
      raise AttributeError(method)
    return getattr(self._client, method)

  @functools.cached_property
  def _client(self) -> calls.Client:
    return calls.Client(*hosts.ask(_DATA, _TELLING_SECS).split())


def make_program(
    experiment: experiment_config.ExperimentConfig, host: Host) -> lp.Program:
  """Returns the part of the experiment's program that runs on a host.

  Args:
    experiment: what to run; its `num_learner_hosts` is the number of hosts.
    host: the host.
  """
  if host.index == 0:
    secret = calls.make_secret()
    has_others = host.count > 1
    return launchpad_program.make_program(
        experiment, functools.partial(_join, host, secret),
        functools.partial(
            launchpad_program.make_data_node,
            host=host.first if has_others else 'localhost'),
        first_learner_only=True,
        public_groups=['data'] if has_others else [], secret=secret)
  program = lp.Program('acme_msg')
  with program.group('learner'):
    program.add_node(lp.PyClassNode(
        learner_node.LearnerNode, experiment, _DataOfFirstHost(),
        functools.partial(hosts.join, *host)))
  return program


def launch(experiment: experiment_config.ExperimentConfig, host: Host) -> None:
  """Runs a host's part of an experiment, and returns when it is over.

  Every host must call it, with the same experiment and a `root_dir` on a file
  system that all hosts share. A host that fails or is told to stop ends all
  hosts; see also `local.launch`.

  Args:
    experiment: what to run.
    host: this host.

  Raises:
    ValueError: if `root_dir` is in use or holds a run with other settings or
      data, or if the coordinator's port is in use on host 0.
    local.ProgramError: if the program ended before the run was finished.
  """
  experiment = _on_hosts(experiment, host)
  _check(experiment, host)
  if host.index == 0 and host.count > 1:
    hosts.check_port(host.coordinator_address)
  local.run_program(
      make_program(experiment, host), experiment, local.resources())


def _check(experiment: experiment_config.ExperimentConfig, host: Host) -> None:
  run_directory.check(experiment)
  if host.index == 0:  # Its learner owns the directory, perhaps already.
    run_lock.check(experiment.root_dir)


def _on_hosts(experiment: experiment_config.ExperimentConfig,
              host: Host) -> experiment_config.ExperimentConfig:
  return dataclasses.replace(experiment, num_learner_hosts=host.count)


def _plan(experiment: experiment_config.ExperimentConfig, host: Host) -> str:
  """Returns what all hosts would start."""
  resources = local.resources()

  def node(name, index, address=''):
    here = ', this one' if index == host.index else ''
    where = f'host {index} of {host.count}{here}'
    group = name.split('/')[0]
    devices = 'all that JAX finds there' if group == 'learner' else 'CPU'
    return dry_run.Node(name, where, devices, address, resources[group].env)

  learners = [
      node(f'learner/{index}', index,
           f'meets the others at {host.coordinator_address}')
      for index in range(host.count)]
  evaluators = [node(f'evaluator/{index}', 0)
                for index in range(experiment.num_evaluators)]
  data = node('data/0', 0, f'{host.first}, at a port that host 0 chooses')
  return dry_run.describe(experiment, [data, *learners, *evaluators])


def main(experiment: experiment_config.ExperimentConfig) -> None:
  """Launches the experiment as the flags say."""
  host = find_host(
      FLAGS.coordinator_address, FLAGS.num_processes, FLAGS.process_id)
  if FLAGS.dry_run:
    experiment = _on_hosts(experiment, host)
    _check(experiment, host)
    print(_plan(experiment, host))
  else:
    launch(experiment, host)


def command() -> None:
  """Runs the command line."""
  flags.DEFINE_string(
      'coordinator_address', None,
      "'host:port' of host 0, with a port that is free there. Give all three "
      'flags, or none to find the hosts in the environment.')
  flags.DEFINE_integer('num_processes', None, 'The number of hosts.')
  flags.DEFINE_integer('process_id', None, 'The index of this host, from 0.')
  command_line.run(main)


if __name__ == '__main__':
  # Under its own name, so that the nodes' processes find it, too.
  from . import pod
  pod.command()
