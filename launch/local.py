"""Runs an experiment on this machine: in processes, in threads or in one.

`python -m acme_msg.launch.local --help` shows the flags of the command line,
which runs the nodes of a program in processes or threads.
"""

if __name__ == '__main__':
  from . import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import dataclasses
import os
import signal
import sys
import threading
from typing import Optional

from absl import flags
import launchpad as lp
from launchpad.nodes.python import local_multi_processing

from . import calls
from . import command_line
from . import dry_run
from . import evaluator_node
from . import experiment_config
from . import faults
from . import hosts as hosts_lib
from . import launchpad_program
from . import node_processes
from . import node_threads
from . import progress
from . import quiet
from . import run_directory
from . import run_lock
from . import run_loggers
from . import shutdown
from . import temporary
from . import training
from .optional import terminals

FLAGS = flags.FLAGS

Resources = node_processes.Resources


class ProgramError(command_line.LaunchError):
  """The program ended before the run was finished."""


def resources(num_forced_devices: Optional[int] = None) -> Resources:
  """Returns the environment of each group's processes.

  Args:
    num_forced_devices: CPU devices to force on each learner host; None leaves
      the machine's devices.
  """
  common = {shutdown.LAUNCHER_PID: str(os.getpid()), **quiet.environment()}
  # The accelerators are the learner's: JAX takes all the memory it finds.
  no_accelerator = {'JAX_PLATFORMS': 'cpu', 'CUDA_VISIBLE_DEVICES': ''}
  learner = {}
  if num_forced_devices is not None:
    learner = {
        'JAX_PLATFORMS': 'cpu',
        'XLA_FLAGS': ' '.join(filter(None, [
            os.environ.get('XLA_FLAGS'),
            '--xla_force_host_platform_device_count='
            f'{num_forced_devices}']))}

  return {
      group: local_multi_processing.PythonProcess(
          env={**common, shutdown.GROUP: group, **env})
      for group, env in (('data', no_accelerator), ('learner', learner),
                         ('evaluator', no_accelerator))}


def _forced_devices(
    experiment: experiment_config.ExperimentConfig,
    num_devices_per_host: Optional[int]) -> Optional[int]:
  # Several hosts cannot share one machine's accelerators.
  if experiment.num_learner_hosts > 1 and num_devices_per_host is None:
    return 1
  return num_devices_per_host


def _check(experiment: experiment_config.ExperimentConfig, launch_type: str,
           num_devices_per_host: Optional[int],
           terminal: Optional[str]) -> None:
  """Raises ValueError for what cannot be launched; see `launch`."""
  if launch_type not in ('local_mp', 'local_mt'):
    raise ValueError(
        f"launch_type must be 'local_mp' or 'local_mt', not {launch_type!r}; "
        'for Vertex AI use `python -m acme_msg.launch.optional.vertex`.')
  num_hosts = experiment.num_learner_hosts
  if launch_type == 'local_mt' and (
      num_hosts > 1 or num_devices_per_host or terminal):
    raise ValueError(
        f'num_learner_hosts={num_hosts}, num_devices_per_host='
        f'{num_devices_per_host} and terminal={terminal!r} need a process for '
        "each node: use launch_type='local_mp'.")
  if num_devices_per_host is not None and num_devices_per_host < 1:
    raise ValueError(f'num_devices_per_host={num_devices_per_host} must be at '
                     'least 1.')
  if terminal is not None:
    terminals.check(terminal)
  run_directory.check(experiment)
  run_lock.check(experiment.root_dir)


def launch(experiment: experiment_config.ExperimentConfig,
           launch_type: str = 'local_mp',
           num_devices_per_host: Optional[int] = None,
           terminal: Optional[str] = None) -> None:
  """Runs an experiment as a Launchpad program, and returns when it is over.

  Must be called in the main thread. SIGINT and SIGTERM stop the program; the
  learner saves, and the next launch resumes.

  Args:
    experiment: what to run. A finished run says so and is left unchanged.
    launch_type: 'local_mp', processes, or 'local_mt', threads.
    num_devices_per_host: forces this number of CPU devices on each learner
      host, to rehearse a larger machine. Several hosts have CPU devices only,
      by default one each.
    terminal: one of `terminals.NAMES` to run each process in; by default all
      print here.

  Raises:
    ValueError: before anything is started, if the launch type is unknown, if
      threads cannot do what is asked, if the terminal cannot open, or if
      `root_dir` is in use or holds a run with other settings or data.
    ProgramError: if the program ended before the run was finished, because a
      node failed or because it was stopped. No process is left.
  """
  _check(experiment, launch_type, num_devices_per_host, terminal)
  run_program(
      launchpad_program.make_program(experiment), experiment,
      resources(_forced_devices(experiment, num_devices_per_host)),
      launch_type, terminal)


def run_program(program: lp.Program,
                experiment: experiment_config.ExperimentConfig,
                process_resources: Resources,
                launch_type: str = 'local_mp',
                terminal: Optional[str] = None) -> None:
  """Runs an experiment's program, or this machine's part of it, to its end.

  Args:
    program: the nodes to run here.
    experiment: what they run.
    process_resources: arguments and environment of each group's processes.
    launch_type: as for `launch`.
    terminal: as for `launch`.

  Raises:
    ProgramError: as `launch`.
  """
  if run_directory.is_finished(experiment):
    print(f'The run in {experiment.root_dir} is finished already.', flush=True)
    return
  faults.check_writable(experiment.root_dir)

  if not FLAGS.is_parsed():
    FLAGS(sys.argv, known_only=True)
  # Launchpad would print a countdown; we end late nodes.
  FLAGS.set_default('lp_termination_notice_secs', -1)

  with temporary.folder() as folder:
    process_resources = node_processes.prepared(process_resources, folder)
    calls.use_sockets(program, folder)
    if terminal is not None:
      failure = terminals.run(program, terminal, process_resources)
    elif launch_type == 'local_mt':
      run_loggers.hide_accelerators()
      failure = node_threads.run(program)
    else:
      failure = node_processes.run(program, process_resources)
  if not run_directory.is_finished(experiment):
    failure = (failure or 'The program was stopped').rstrip('.')
    raise ProgramError(
        f'{failure}. See the output above. The same launch resumes from the '
        f'last checkpoint in {experiment.root_dir}.')


def run_local(experiment: experiment_config.ExperimentConfig) -> None:
  """Runs an experiment in this process: trains, and evaluates in between.

  Gives the same results as the program, and resumes its runs. After SIGINT or
  SIGTERM the learner finishes its step and saves; a second SIGINT ends the run
  without that. Signals reach the main thread only.

  Args:
    experiment: what to run. A finished run says so and is left unchanged.

  Raises:
    ValueError: if `root_dir` is in use, or holds a run with other settings or
      data.
    ProgramError: if the run was stopped.
  """
  run_directory.check(experiment)
  if run_directory.is_finished(experiment):
    print(f'The run in {experiment.root_dir} is finished already.', flush=True)
    return
  stop, is_training = threading.Event(), threading.Event()

  def on_signal(number):
    # Some senders repeat SIGTERM; a user repeats Ctrl-C on purpose.
    is_urgent = stop.is_set() and number == signal.SIGINT
    if is_urgent or not is_training.is_set():
      raise KeyboardInterrupt
    stop.set()

  try:
    with (shutdown.on_signals(on_signal),
          run_lock.hold(experiment.root_dir)):
      run_directory.check(experiment)  # Another process may have written it.
      _run_here(experiment, stop, is_training)
  except (KeyboardInterrupt, shutdown.Stopped):
    raise ProgramError(
        'The run was stopped. Run the same again to resume from the last '
        f'checkpoint in {experiment.root_dir}.') from None


def _run_here(experiment: experiment_config.ExperimentConfig,
              stop: threading.Event, is_training: threading.Event) -> None:
  """Trains until `stop` is set, and sets `is_training` once that has begun."""
  from . import data_node  # Here: the launcher of a program does not need it.
  run_loggers.hide_accelerators()
  evaluator = evaluator_node.EvaluatorNode(experiment, stop=stop)
  queue = training.make_queue(experiment)

  def evaluate():
    while (claimed := queue.claim('local')) is not None:
      queue.report('local', *evaluator.evaluate(*claimed))

  hosts = hosts_lib.Hosts()
  hosts.stop = stop
  with temporary.folder(), progress.Progress(
      experiment.gradient_steps(experiment.num_steps)) as shown:
    shown.wait_for('reading the dataset')
    trained = training.Training(
        experiment, data_node.make_store(experiment.dataset_factory(), stop),
        queue, shown, hosts, evaluate)
    is_training.set()
    trained.run()


def _plan(experiment: experiment_config.ExperimentConfig, launch_type: str,
          num_devices_per_host: Optional[int]) -> str:
  """Returns what `launch` would start."""
  groups = launchpad_program.make_program(experiment).groups
  if launch_type == 'local_mt':
    where, devices, envs = 'a thread of this process', 'those of JAX here', {}
  else:
    forced = _forced_devices(experiment, num_devices_per_host)
    where = 'a process of this machine'
    devices = (f'{forced} forced of the CPU' if forced
               else 'all that JAX finds here')
    envs = {group: process.env for group, process in resources(forced).items()}
  return dry_run.describe(experiment, [
      dry_run.Node(
          f'{group}/{index}', where, devices if group == 'learner' else 'CPU',
          '' if group == 'evaluator' else
          'a Unix socket',
          envs.get(group, {}))
      for group, nodes in groups.items() for index in range(len(nodes))])


def main(experiment: experiment_config.ExperimentConfig) -> None:
  """Launches the experiment as the flags say."""
  experiment = dataclasses.replace(
      experiment, num_learner_hosts=FLAGS.num_learner_hosts)
  options = dict(launch_type=FLAGS.lp_launch_type,
                 num_devices_per_host=FLAGS.num_devices_per_host)
  if FLAGS.dry_run:
    _check(experiment, **options, terminal=FLAGS.terminal)
    print(_plan(experiment, **options))
  else:
    launch(experiment, **options, terminal=FLAGS.terminal)


def command() -> None:
  """Runs the command line."""
  FLAGS.set_default('lp_launch_type', 'local_mp')
  flags.DEFINE_integer(
      'num_learner_hosts', 1,
      'Learner processes, as on so many hosts; with CPU devices only.')
  flags.DEFINE_integer(
      'num_devices_per_host', None,
      'CPU devices to force on each learner process, as a rehearsal.')
  flags.DEFINE_enum(
      'terminal', None, terminals.NAMES,
      'Where each process runs. By default all of them print here.')
  command_line.run(main, library_flags=['lp_launch_type'])


if __name__ == '__main__':
  # Under its own name, so that the nodes' processes find it, too.
  from . import local
  local.command()
