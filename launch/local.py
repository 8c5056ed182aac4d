"""Runs an experiment on this machine: in many processes, in threads, in one."""

import os
import sys
from typing import Dict

from absl import flags
from absl.testing import absltest
import launchpad as lp
from launchpad.nodes.python import local_multi_processing

from . import evaluator as evaluator_lib
from . import experiment as experiment_lib
from . import learner as learner_lib
from . import lifetime
from . import program as program_lib
from . import run_directory

FLAGS = flags.FLAGS

# Seconds until nodes that are asked to stop are killed. A little more than the
# 10 after which they end themselves: Launchpad 0.5.0 cannot pass its flags on.
_NOTICE_SECS = 15


class ProgramError(RuntimeError):
  """The program ended before the run was finished."""


def _resources() -> Dict[str, local_multi_processing.PythonProcess]:
  """Returns the environment of each group's processes."""
  common = {lifetime.LAUNCHER_PID: str(os.getpid())}
  # The accelerators are the learner's: JAX takes all the memory it finds.
  no_accelerator = {'JAX_PLATFORMS': 'cpu', 'CUDA_VISIBLE_DEVICES': ''}

  def process(**env):
    return local_multi_processing.PythonProcess(env={**common, **env})

  return {
      'data': process(**no_accelerator),
      'learner': process(),
      'evaluator': process(**no_accelerator),
  }


def launch(experiment: experiment_lib.ExperimentConfig,
           launch_type: str = 'local_mp') -> None:
  """Runs an experiment as a Launchpad program, and returns when it is over.

  Must be called in the main thread, once per process. SIGINT and SIGTERM stop
  the program; the learner saves, and the next launch resumes.

  Args:
    experiment: what to run. A finished run says so and is left alone.
    launch_type: 'local_mp', processes, or 'local_mt', threads.

  Raises:
    ValueError: if the launch type is another, or if `root_dir` holds a run
      with other settings; before anything is started.
    ProgramError: if the program ended before the run was finished, because a
      node failed or because it was stopped. No process is left.
  """
  if launch_type not in ('local_mp', 'local_mt'):
    raise ValueError(f"launch_type must be 'local_mp' or 'local_mt', not "
                     f'{launch_type!r}.')
  run_directory.check(experiment)
  if run_directory.is_finished(experiment):
    print(f'The run in {experiment.root_dir} is finished already.', flush=True)
    return

  if not FLAGS.is_parsed():
    FLAGS(sys.argv, known_only=True)
  if FLAGS['lp_termination_notice_secs'].using_default_value:
    FLAGS.lp_termination_notice_secs = _NOTICE_SECS

  manager = _start(program_lib.make_program(experiment), launch_type)
  failure = None
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


def _start(program: lp.Program, launch_type: str):
  """Starts all nodes and returns Launchpad's worker manager."""
  if launch_type == 'local_mt':
    return lp.launch(program, launch_type=launch_type)
  # In Launchpad's terminals a shell stands around each node. It hides how the
  # node ends, so that the others would wait for a failed one for ever, and it
  # holds back what the node prints to a file. Its launch for tests does
  # neither; it wants a test case only to register a cleanup after the end.
  return lp.launch(
      program, launch_type='test_mp', local_resources=_resources(),
      test_case=absltest.TestCase())


def run_local(experiment: experiment_lib.ExperimentConfig) -> None:
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
  learner = learner_lib.LearnerNode(experiment)
  evaluator = evaluator_lib.EvaluatorNode(experiment)

  def evaluate():
    while (claimed := learner.claim('local')) is not None:
      learner.report('local', *evaluator.evaluate(*claimed))

  with learner.progress:
    learner.progress.wait_for('loading data')
    learner.start(experiment.dataset_factory())
    evaluate()
    while learner.advance():
      evaluate()
    learner.finish()
