r"""Trains and evaluates an agent: `python -m acme_msg.experiments.run`.

For example, MSG on the embedded task:

  python -m acme_msg.experiments.run --task_name=pointmaze-umaze-diverse \
    --gin_configs=pointmaze.gin --num_steps=200 --eval_every_steps=20

Steps are learner steps, each of `num_sgd_steps_per_step` gradient steps. The
same command resumes a run that was stopped.
"""

if __name__ == '__main__':
  from ..launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import os
import sys

from absl import flags
import jax

from . import experiment_flags
from .. import command_help
from ..launch import command_line
from ..launch import local

_RUN_LOCAL = flags.DEFINE_bool(
    'run_local', False, 'Run everything in this one process.')
_CREATE_SAVED_MODEL_ACTOR = flags.DEFINE_bool(
    'create_saved_model_actor', False,
    'Write the final policy as a TensorFlow SavedModel.')
_DEBUG_NANS = flags.DEFINE_bool(
    'debug_nans', False, 'Stop at the first NaN in a compiled program.')


def main(argv):
  """Runs the experiment that the flags describe."""
  if len(argv) > 1:
    sys.exit(f'error: {" ".join(argv[1:])!r}: only flags are taken.')
  if _DEBUG_NANS.value:
    # The learner's process inherits the environment variable.
    os.environ['JAX_DEBUG_NANS'] = 'True'
    jax.config.update('jax_debug_nans', True)
  try:
    experiment = experiment_flags.make_experiment()
  except Exception as e:
    command_line.exit_if_expected(e)
    raise
  try:
    if _RUN_LOCAL.value:
      local.run_local(experiment)
    else:
      local.launch(experiment, flags.FLAGS.lp_launch_type)
  except Exception as e:
    if not flags.FLAGS.pdb_post_mortem or isinstance(e, local.ProgramError):
      command_line.exit_if_expected(e)
    raise  # To the debugger.
  from . import report  # Here, because it imports Matplotlib.
  if _CREATE_SAVED_MODEL_ACTOR.value:
    try:
      print(f'SavedModel: {report.export_policy(experiment)}')
    except (OSError, ValueError) as e:  # No room, or a damaged checkpoint.
      command_line.exit_if_expected(e)
  for picture in report.draw(experiment):
    print(f'Picture: {picture}')
  print(f'Final score: {report.final_score(experiment.root_dir):.1f}; all '
        f'results are in {experiment.root_dir}')


if __name__ == '__main__':
  flags.FLAGS.set_default('lp_launch_type', 'local_mp')
  command_help.run(main, {
      **experiment_flags.GROUPS,
      'Output': ('root_dir', 'create_saved_model_actor'),
      'Nodes': ('run_local', 'lp_launch_type', 'num_evaluators'),
      'Debugging': ('debug_nans', 'pdb_post_mortem'),
  })
