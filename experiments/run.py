"""Trains and evaluates an agent: `python -m acme_msg.experiments.run`.

For example, MSG on the embedded task:

  python -m acme_msg.experiments.run --task_name=pointmaze-umaze-diverse \
    --gin_configs=pointmaze.gin --num_steps=200 --eval_every_steps=20

Steps are learner steps, each of `num_sgd_steps_per_step` gradient steps. The
same command resumes a run that was stopped.
"""

import os
import sys

from absl import app
from absl import flags
import jax

from . import agents
from . import report
from . import settings
from ..launch import experiment as experiment_lib
from ..launch import lifetime
from ..launch import local
from ..launch import run_directory

_ALGORITHM = flags.DEFINE_enum(
    'algorithm', 'msg', agents.ALGORITHMS, 'The agent.')
_TASK_CLASS = flags.DEFINE_string(
    'task_class', 'pointmaze',
    "'pointmaze', the embedded tasks, or 'd4rl', the real ones.")
_TASK_NAME = flags.DEFINE_string(
    'task_name', 'pointmaze-umaze-diverse',
    "Such as 'pointmaze-umaze-diverse' or 'antmaze-large-diverse-v2'.")
_DATASET_PATH = flags.DEFINE_string(
    'dataset_path', None,
    "An HDF5 file of D4RL's layout or a directory of RLDS data, to use instead "
    "of the task's own dataset.")
_ROOT_DIR = flags.DEFINE_string(
    'root_dir', None,
    'Directory of the run; runs/TASK-ALGORITHM-seedSEED by default. Nothing in '
    'it is ever deleted: a run that is there is resumed.')
_SEED = flags.DEFINE_integer('seed', 1, 'Seed of everything.')
_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 1_000_000, 'Learner steps of the whole run.')
_EVAL_EVERY_STEPS = flags.DEFINE_integer(
    'eval_every_steps', 10_000,
    'Learner steps between evaluations; divides num_steps.')
_EPISODES_PER_EVAL = flags.DEFINE_integer(
    'episodes_per_eval', 10, 'Episodes of each evaluation.')
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', None,
    'Transitions per learner step: num_sgd_steps_per_step times those per '
    "gradient step. By default the latter is the agent's option batch_size.")
_NUM_SGD_STEPS_PER_STEP = flags.DEFINE_integer(
    'num_sgd_steps_per_step', None,
    "Gradient steps per learner step; by default the agent's option.")
_GIN_CONFIGS = flags.DEFINE_multi_string(
    'gin_configs', [], 'Gin files, or names of those in experiments/recipes.')
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "Such as 'msg.config.MSGConfig.ensemble_size=64'.")
_NUM_EVALUATORS = flags.DEFINE_integer(
    'num_evaluators', 1, 'Evaluator nodes of the program.')
_RUN_LOCAL = flags.DEFINE_bool(
    'run_local', False, 'Run everything in this one process.')
_CREATE_SAVED_MODEL_ACTOR = flags.DEFINE_bool(
    'create_saved_model_actor', False,
    'Write the final policy as a TensorFlow SavedModel.')
_DEBUG_NANS = flags.DEFINE_bool(
    'debug_nans', False, 'Stop at the first NaN in a compiled program.')


def _set_debug_nans():
  # The environment reaches the learner's process.
  os.environ['JAX_DEBUG_NANS'] = 'True'
  jax.config.update('jax_debug_nans', True)


def launch(experiment: experiment_lib.ExperimentConfig, run_local: bool):
  """Runs an experiment in one process or as the program that flags ask for."""
  if run_local:
    local.run_local(experiment)
  else:
    local.launch(experiment, flags.FLAGS.lp_launch_type)


def main(argv):
  """Runs the experiment that the flags describe."""
  lifetime.quiet()
  if len(argv) > 1:
    sys.exit(f'error: {" ".join(argv[1:])!r}: only flags are taken.')
  if _DEBUG_NANS.value:
    _set_debug_nans()
  try:
    agents.parse_gin(_GIN_CONFIGS.value, _GIN_BINDINGS.value)
    experiment = settings.make_experiment(
        algorithm=_ALGORITHM.value,
        task_class=_TASK_CLASS.value,
        task_name=_TASK_NAME.value,
        root_dir=_ROOT_DIR.value or settings.default_root_dir(
            _TASK_NAME.value, _ALGORITHM.value, _SEED.value),
        seed=_SEED.value,
        num_steps=_NUM_STEPS.value,
        eval_every_steps=_EVAL_EVERY_STEPS.value,
        episodes_per_eval=_EPISODES_PER_EVAL.value,
        batch_size=_BATCH_SIZE.value,
        num_sgd_steps_per_step=_NUM_SGD_STEPS_PER_STEP.value,
        dataset_path=_DATASET_PATH.value,
        num_evaluators=_NUM_EVALUATORS.value)
    run_directory.check(experiment)
  except (ValueError, FileNotFoundError) as e:
    sys.exit(f'error: {e}')
  try:
    launch(experiment, _RUN_LOCAL.value)
  except (ValueError, FileNotFoundError) as e:
    if flags.FLAGS.pdb_post_mortem:
      raise  # To the debugger that was asked for.
    sys.exit(f'error: {e}')
  except local.ProgramError as e:
    sys.exit(f'error: {e}')
  if _CREATE_SAVED_MODEL_ACTOR.value:
    print(f'SavedModel: {report.export_policy(experiment)}')
  for picture in report.draw(experiment):
    print(f'Picture: {picture}')
  print(f'Final score: {report.final_score(experiment.root_dir):.1f}; all '
        f'results are in {experiment.root_dir}')


if __name__ == '__main__':
  flags.FLAGS.set_default('lp_launch_type', 'local_mp')
  app.run(main)
