"""The main job end to end: `make run`.

Makes the data of a maze in which behaviour cloning fails, trains MSG and
behaviour cloning on it, each through a real Launchpad program, and compares
their scores. The last line of the output is `RESULT ` and one JSON object.
"""

import json
import os
import sys
import time

from absl import app
from absl import flags

from . import algorithms
from . import plots
from . import report
from . import settings
from ..datasets import pointmaze_generator
from ..launch import shutdown
from ..launch import local

_TASK_NAME = flags.DEFINE_string(
    'task_name', 'pointmaze-umaze-diverse', 'An embedded task.')
_SEED = flags.DEFINE_integer('seed', 1, 'Seed of everything.')
_ROOT_DIR = flags.DEFINE_string(
    'root_dir', None,
    'Directory of the two runs; runs/quickstart-TASK-seedSEED by default. Runs '
    'that are there are resumed.')
_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 200, "MSG's learner steps, of 100 gradient steps each.")
_EPISODES_PER_EVAL = flags.DEFINE_integer(
    'episodes_per_eval', 20, 'Episodes of each evaluation.')

# Learner steps of behaviour cloning, of 100 gradient steps too; it has stopped
# changing by then.
_BC_STEPS = 100
_NUM_EVALS = 10
# Scores are averages over the last evaluations, as both methods still swing.
_NUM_SCORED_EVALS = 3
flags.register_validator(
    'num_steps', lambda steps: steps > 0 and steps % _NUM_EVALS == 0,
    f'must be a positive multiple of {_NUM_EVALS}, the number of evaluations.')


def _run(algorithm: str, recipe: str, num_steps: int, root_dir: str):
  """Trains and evaluates one algorithm; returns the finished experiment."""
  algorithms.parse_gin([recipe], [])
  experiment = settings.make_experiment(
      algorithm=algorithm,
      task_class='pointmaze',
      task_name=_TASK_NAME.value,
      root_dir=os.path.join(root_dir, algorithm),
      seed=_SEED.value,
      num_steps=num_steps,
      eval_every_steps=num_steps // _NUM_EVALS,
      episodes_per_eval=_EPISODES_PER_EVAL.value)
  print(f'\n== {algorithm} on {_TASK_NAME.value}: '
        f'{experiment.gradient_steps(num_steps):,} gradient steps, '
        f'{_NUM_EVALS} evaluations of {_EPISODES_PER_EVAL.value} episodes ==',
        flush=True)
  local.launch(experiment, flags.FLAGS.lp_launch_type)
  return experiment


def main(argv):
  """Runs the quickstart."""
  shutdown.quiet()
  del argv
  start = time.time()
  root_dir = os.path.abspath(_ROOT_DIR.value or os.path.join(
      'runs', f'quickstart-{_TASK_NAME.value}-seed{_SEED.value}'))
  try:
    print(f'== The data: {pointmaze_generator.ensure(_TASK_NAME.value)} ==', flush=True)
    bc = _run('bc', 'pointmaze_bc.gin', _BC_STEPS, root_dir)
    msg = _run('msg', 'pointmaze.gin', _NUM_STEPS.value, root_dir)
  except (ValueError, local.ProgramError) as e:
    sys.exit(f'error: {e}')
  curves = os.path.join(root_dir, 'learning_curves.png')
  plots.learning_curve(
      {'MSG': msg.root_dir, 'behaviour cloning': bc.root_dir}, curves,
      _TASK_NAME.value)
  *_, picture = report.draw(msg)
  msg_score = report.final_score(msg.root_dir, _NUM_SCORED_EVALS)
  bc_score = report.final_score(bc.root_dir, _NUM_SCORED_EVALS)
  print(f"""
Normalised score on {_TASK_NAME.value} (100 = every episode reaches the goal),
averaged over the last {_NUM_SCORED_EVALS} evaluations
  MSG                {msg_score:6.1f}
  behaviour cloning  {bc_score:6.1f}

Learning curves:                   {curves}
Value, spread, data, trajectories: {picture}
""", flush=True)
  print('RESULT ' + json.dumps({
      'task': _TASK_NAME.value,
      'msg_score': msg_score,
      'bc_score': bc_score,
      'gradient_steps': msg.gradient_steps(msg.num_steps),
      'seconds': round(time.time() - start, 1),
      'root_dir': root_dir,
  }), flush=True)


if __name__ == '__main__':
  flags.FLAGS.set_default('lp_launch_type', 'local_mp')
  app.run(main)
