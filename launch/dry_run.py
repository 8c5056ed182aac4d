"""The text of a dry run: what a launch would start, and where."""

from typing import Mapping, NamedTuple, Sequence

from . import experiment_config
from . import quiet
from . import shutdown


class Node(NamedTuple):
  """One process of a launch.

  Attributes:
    name: the group and the node's index in it, such as 'learner/0'.
    where: the machine.
    devices: JAX's devices there.
    address: the node's address, as far as it is known.
    env: variables set in the node's environment.
  """
  name: str
  where: str
  devices: str
  address: str = ''
  env: Mapping[str, str] = {}


def _task(name: str) -> str:
  if name == 'learner/0':
    return 'trains, logs, saves and serves weights'
  return {'data': 'reads the dataset and serves it by Reverb',
          'learner': 'trains and saves its part',
          'evaluator': 'runs episodes with the weights'}[name.split('/')[0]]


def describe(experiment: experiment_config.ExperimentConfig,
             nodes: Sequence[Node], notes: Sequence[str] = ()) -> str:
  """Returns the text of a dry run.

  Args:
    experiment: the experiment.
    nodes: its processes.
    notes: further lines.
  """
  steps = experiment.gradient_steps(experiment.num_steps)
  lines = [
      'Nothing is started: this is a dry run.',
      f'run        {experiment.root_dir}',
      f'budget     {experiment.num_steps:,} learner steps of '
      f'{experiment.num_sgd_steps_per_step:,} gradient steps: {steps:,}',
      f'evaluated  {len(experiment.evaluated_steps()):,} times over '
      f'{experiment.episodes_per_eval} episodes',
      f'data       {"streamed" if experiment.stream else "resident"}']
  for node in nodes:
    lines += ['', f'{node.name}: {_task(node.name)}',
              f'  on         {node.where}', f'  devices    {node.devices}']
    if node.address:
      lines.append(f'  address    {node.address}')
    lines += [f'  env        {name}={value}'
              for name, value in sorted(node.env.items())
              if name not in (shutdown.LAUNCHER_PID, shutdown.GROUP,
                      *quiet.environment())]
  return '\n'.join(lines + [''] * bool(notes) + list(notes))
