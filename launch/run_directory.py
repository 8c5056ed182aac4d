"""The directory of a run: who may continue it, and whether it is finished."""

import json
import os
from typing import Any, Dict, Mapping

from . import checkpointing
from . import evaluations
from . import experiment_config

_NAME = 'config.json'


def _record(experiment: experiment_config.ExperimentConfig) -> Dict[str, Any]:
  """Returns all that decides the run's results."""
  names = ('seed', 'num_steps', 'num_sgd_steps_per_step', 'eval_every_steps',
           'episodes_per_eval')
  record = {name: int(getattr(experiment, name)) for name in names}
  record['config'] = experiment.config
  # As a file holds it: tuples become lists, keys become strings.
  return json.loads(json.dumps(record))


def _flat(record: Mapping[str, Any], prefix: str = '') -> Dict[str, Any]:
  """Returns the leaves of a nested mapping under dotted names."""
  leaves = {}
  for key, value in record.items():
    if isinstance(value, Mapping):
      leaves.update(_flat(value, f'{prefix}{key}.'))
    else:
      leaves[prefix + key] = value
  return leaves


def check(experiment: experiment_config.ExperimentConfig) -> None:
  """Refuses to continue a run that was started with other settings.

  Only `num_steps` may differ: it is absolute, and may grow.

  Args:
    experiment: the experiment that wants to use its `root_dir`.

  Raises:
    ValueError: if the directory holds checkpoints or evaluations of unknown
      settings, or of settings that differ; lists what differs.
  """
  root_dir = experiment.root_dir
  path = os.path.join(root_dir, _NAME)
  if not os.path.exists(path):
    strange = {'checkpoints', 'evaluations.npz'}.intersection(
        os.listdir(root_dir) if os.path.isdir(root_dir) else ())
    if strange:
      raise ValueError(
          f'{root_dir} holds {sorted(strange)} but no {_NAME}, so nobody knows '
          'what they belong to. Choose another root_dir.')
    return
  with open(path) as f:
    found = _flat(json.load(f))
  asked = _flat(_record(experiment))
  differ = [
      f'  {name}: the run has {found.get(name, "(none)")!r}, '
      f'asked for {asked.get(name, "(none)")!r}'
      for name in sorted({*found, *asked})
      # As text, in which NaN equals itself.
      if json.dumps(found.get(name)) != json.dumps(asked.get(name))
      and not (name == 'num_steps' and asked[name] > found.get(name, 0))]
  if differ:
    raise ValueError(
        f'{path} belongs to a run with other settings:\n' + '\n'.join(differ) +
        '\nUse these settings to resume it, or choose another root_dir.')


def claim(experiment: experiment_config.ExperimentConfig) -> None:
  """Checks the directory and records the experiment's settings in it."""
  check(experiment)
  os.makedirs(experiment.root_dir, exist_ok=True)
  path = os.path.join(experiment.root_dir, _NAME)
  with open(path + '.tmp', 'w') as f:
    json.dump(_record(experiment), f, indent=2, sort_keys=True)
    f.write('\n')
  os.replace(path + '.tmp', path)


def confirm(experiment: experiment_config.ExperimentConfig) -> None:
  """Checks that another host of the run has claimed the same directory.

  Args:
    experiment: whose `root_dir` host 0 has claimed.

  Raises:
    ValueError: if this host finds nothing there, or other settings.
  """
  path = os.path.join(experiment.root_dir, _NAME)
  if not os.path.exists(path):
    raise ValueError(
        f'{path} was written by host 0, but this host does not find it. '
        'root_dir must be on a file system that all hosts share.')
  check(experiment)


def is_finished(experiment: experiment_config.ExperimentConfig) -> bool:
  """Returns whether the run is trained, saved and evaluated to its end."""
  last = checkpointing.latest_step(experiment.root_dir)
  evaluated = evaluations.load(experiment.root_dir)
  return (last == experiment.gradient_steps(experiment.num_steps) and
          set(experiment.evaluated_steps()).issubset(evaluated))
