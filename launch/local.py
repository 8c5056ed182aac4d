"""Runs an experiment on this machine: in many processes, in threads, in one.

`python -m acme_msg.launch.local --help` shows the flags of the first.
"""

import dataclasses
import os
import sys
from typing import Mapping, Optional

from absl import flags
from absl.testing import absltest
import launchpad as lp
from launchpad.nodes.python import local_multi_processing

from . import command_line
from . import data_node
from . import evaluator_node
from . import experiment_config
from . import learner_node
from . import shutdown
from . import dry_run
from . import launchpad_program
from . import run_directory
from .optional import terminals

FLAGS = flags.FLAGS

# Seconds until nodes that are asked to stop are killed. A little more than the
# 10 after which they end themselves: Launchpad 0.5.0 cannot pass its flags on.
_NOTICE_SECS = 15


Resources = Mapping[str, local_multi_processing.PythonProcess]


class ProgramError(command_line.LaunchError):
  """The program ended before the run was finished."""


def resources(num_forced_devices: Optional[int] = None) -> Resources:
  """Returns the environment of each group's processes.

  Args:
    num_forced_devices: CPU devices to force on each learner host; by default it
      has the machine's.
  """
  common = {shutdown.LAUNCHER_PID: str(os.getpid())}
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

  def process(**env):
    return local_multi_processing.PythonProcess(env={**common, **env})

  return {
      'data': process(**no_accelerator),
      'learner': process(**learner),
      'evaluator': process(**no_accelerator),
  }


def _forced_devices(
    experiment: experiment_config.ExperimentConfig,
    num_devices_per_host: Optional[int]) -> Optional[int]:
  # One machine's accelerators have no parts for several hosts.
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
        'for Vertex AI there is `python -m acme_msg.launch.optional.vertex`.')
  num_hosts = experiment.num_learner_hosts
  if launch_type == 'local_mt' and (
      num_hosts > 1 or num_devices_per_host or terminal):
    raise ValueError(
        f'num_learner_hosts={num_hosts}, num_devices_per_host='
        f'{num_devices_per_host} and terminal={terminal!r} need processes of '
        "their own: use launch_type='local_mp'.")
  if num_devices_per_host is not None and num_devices_per_host < 1:
    raise ValueError(f'num_devices_per_host={num_devices_per_host} must be at '
                     'least 1.')
  if terminal is not None:
    terminals.check(terminal)
  run_directory.check(experiment)


def launch(experiment: experiment_config.ExperimentConfig,
           launch_type: str = 'local_mp',
           num_devices_per_host: Optional[int] = None,
           terminal: Optional[str] = None) -> None:
  """Runs an experiment as a Launchpad program, and returns when it is over.

  Must be called in the main thread, once per process. SIGINT and SIGTERM stop
  the program; the learner saves, and the next launch resumes.

  Args:
    experiment: what to run. A finished run says so and is left alone.
    launch_type: 'local_mp', processes, or 'local_mt', threads.
    num_devices_per_host: rehearses a larger machine with as many forced CPU
      devices for each learner host. Several hosts have CPU devices only, by
      default one each.
    terminal: one of `terminals.NAMES` to run each process in; by default all
      print here.

  Raises:
    ValueError: if the launch type is another, if threads shall be several
      hosts, have devices forced on them or terminals, if a terminal cannot
      open, or if `root_dir` holds a run with other settings; before anything is
      started.
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
    process_resources: of each group's processes.
    launch_type: as for `launch`.
    terminal: as for `launch`.

  Raises:
    ProgramError: as `launch`.
  """
  if run_directory.is_finished(experiment):
    print(f'The run in {experiment.root_dir} is finished already.', flush=True)
    return

  if not FLAGS.is_parsed():
    FLAGS(sys.argv, known_only=True)
  if FLAGS['lp_termination_notice_secs'].using_default_value:
    FLAGS.lp_termination_notice_secs = _NOTICE_SECS

  failure = None
  if terminal is not None:
    try:
      terminals.run(program, terminal, process_resources)
    except terminals.Failure as e:
      failure = e
  else:
    manager = _start(program, launch_type, process_resources)
    try:
      manager.wait()
    except Exception as e:  # Of a node; the manager asks the others to stop.
      failure = e
      manager.wait(raise_error=False)
  if not run_directory.is_finished(experiment):
    raise ProgramError(
        f'{failure or "The program was stopped"}: see the output above. Launch '
        'the same again to resume from the last checkpoint in '
        f'{experiment.root_dir}.') from failure


def _start(program: lp.Program, launch_type: str,
           process_resources: Resources):
  """Starts all nodes and returns Launchpad's worker manager."""
  if launch_type == 'local_mt':
    return lp.launch(program, launch_type=launch_type)
  # In Launchpad's terminals a shell stands around each node. It hides how the
  # node ends, so that the others would wait for a failed one for ever, and it
  # holds back what the node prints to a file. Its launch for tests does
  # neither; it wants a test case only to register a cleanup after the end.
  return lp.launch(
      program, launch_type='test_mp', local_resources=process_resources,
      test_case=absltest.TestCase())


def run_local(experiment: experiment_config.ExperimentConfig) -> None:
  """Runs an experiment in this process: trains, and evaluates in between.

  Gives the same results as the program, and resumes its runs.

  Args:
    experiment: what to run. A finished run says so and is left alone.

  Raises:
    ValueError: if `root_dir` holds a run with other settings.
  """
  run_directory.claim(experiment)
  if run_directory.is_finished(experiment):
    print(f'The run in {experiment.root_dir} is finished already.', flush=True)
    return
  learner = learner_node.LearnerNode(experiment)
  evaluator = evaluator_node.EvaluatorNode(experiment)

  def evaluate():
    while (claimed := learner.claim('local')) is not None:
      learner.report('local', *evaluator.evaluate(*claimed))

  with learner.progress:
    learner.progress.wait_for('loading data')
    learner.start(data_node.make_store(experiment.dataset_factory()))
    evaluate()
    while learner.advance():
      evaluate()
    learner.finish()


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
          'localhost, at a port that is chosen when it starts',
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
  command_line.run(main)


if __name__ == '__main__':
  # By its own name, under which the nodes' processes find it, too.
  from . import local
  local.command()
