"""The quickstart: `make run`.

Generates the dataset of a maze in which behaviour cloning fails, trains MSG and
behaviour cloning on it, each as a Launchpad program, and compares their scores.
The last line of the output is `RESULT ` and one JSON object.
"""

if __name__ == '__main__':
  from ..launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import json
import os
import sys
import time

from absl import flags

from . import gin_options
from . import plots
from . import report
from . import settings
from . import tasks
from .. import command_help
from ..datasets import pointmaze_generator
from ..launch import local

_TASK_NAME = flags.DEFINE_string(
    'task_name', 'pointmaze-umaze-diverse', 'One of the point mazes.')
_SEED = flags.DEFINE_integer(
    'seed', 1, 'Seed of the learners, the actors and the environments.')
_ROOT_DIR = flags.DEFINE_string(
    'root_dir', None,
    'Directory of the two runs; runs/quickstart-TASK-seedSEED by default. Runs '
    'that exist there are resumed.')
_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 200,
    "MSG's learner steps, of 100 gradient steps each. Behaviour cloning makes "
    'as many, but at most 100.')
_EPISODES_PER_EVAL = flags.DEFINE_integer(
    'episodes_per_eval', 20, 'Episodes of each evaluation.')

# The score of behaviour cloning no longer changes after 100 learner steps.
_MAX_BC_STEPS = 100
_NUM_EVALS = 10
# Scores are means over the last evaluations, because single ones vary.
_NUM_SCORED_EVALS = 3
flags.register_validator(
    'num_steps', lambda steps: steps > 0 and steps % _NUM_EVALS == 0,
    f'must be a positive multiple of {_NUM_EVALS}, the number of evaluations.')


def _run(algorithm: str, recipe: str, num_steps: int, root_dir: str):
  """Trains and evaluates one algorithm; returns the finished experiment."""
  gin_options.parse([recipe], [])
  experiment = settings.make_experiment(
      settings.AgentConfig(algorithm),
      tasks.TaskConfig('pointmaze', _TASK_NAME.value),
      settings.Budget(
          num_steps, num_steps // _NUM_EVALS, _EPISODES_PER_EVAL.value),
      seed=_SEED.value,
      root_dir=os.path.join(root_dir, algorithm))
  print(f'\n== {algorithm} on {_TASK_NAME.value}: '
        f'{experiment.gradient_steps(num_steps):,} gradient steps, '
        f'{_NUM_EVALS} evaluations of {_EPISODES_PER_EVAL.value} episodes ==',
        flush=True)
  local.launch(experiment, flags.FLAGS.lp_launch_type)
  return experiment


def main(_):
  start = time.time()
  root_dir = os.path.abspath(_ROOT_DIR.value or os.path.join(
      'runs', f'quickstart-{_TASK_NAME.value}-seed{_SEED.value}'))
  try:
    path = pointmaze_generator.ensure(_TASK_NAME.value)
    print(f'== Dataset: {path} ==', flush=True)
    bc = _run('bc', 'pointmaze_bc.gin',
              min(_NUM_STEPS.value, _MAX_BC_STEPS), root_dir)
    msg = _run('msg', 'pointmaze.gin', _NUM_STEPS.value, root_dir)
  except (OSError, ValueError, local.ProgramError) as e:
    sys.exit(f'error: {e}')
  curves = os.path.join(root_dir, 'learning_curves.png')
  pictures = report.try_to_draw(curves, lambda: plots.learning_curve(
      {'MSG': msg.root_dir, 'behaviour cloning': bc.root_dir}, curves,
      _TASK_NAME.value)) + report.draw(msg)
  msg_score = report.final_score(msg.root_dir, _NUM_SCORED_EVALS)
  bc_score = report.final_score(bc.root_dir, _NUM_SCORED_EVALS)
  print(f'''
Normalised score on {_TASK_NAME.value} (100 = every episode reaches the goal),
averaged over the last {_NUM_SCORED_EVALS} evaluations
  MSG                {msg_score:6.1f}
  behaviour cloning  {bc_score:6.1f}
''')
  for picture in pictures:
    print(f'Picture: {picture}')
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
  command_help.run(main, {
      'Task': ('task_name',),
      'Budget': ('num_steps', 'episodes_per_eval', 'seed'),
      'Output': ('root_dir',),
      'Nodes': ('lp_launch_type',),
  })
