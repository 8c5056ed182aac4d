"""A run's directory: who may resume it, and whether the run is finished."""

import json
import os
from typing import Any, Dict, Mapping

from . import checkpointing
from . import evaluations
from . import experiment_config
from .. import __version__
from .. import atomic_files

_NAME = 'config.json'
# Says what wrote the record; it is never compared.
_VERSION = 'acme_msg_version'


def _record(experiment: experiment_config.ExperimentConfig) -> Dict[str, Any]:
  """Returns everything that decides the run's results."""
  names = ('seed', 'num_steps', 'num_sgd_steps_per_step', 'eval_every_steps',
           'episodes_per_eval')
  record: Dict[str, Any] = {
      name: int(getattr(experiment, name)) for name in names}
  record['config'] = experiment.config
  # As JSON holds it: tuples become lists, keys become strings.
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
  """Refuses to resume a run that was started with other settings.

  `num_steps` may grow, because it is absolute. The version of this package,
  which runs before 0.2 did not record, is not compared.

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
          f'{root_dir} holds {sorted(strange)} but no {_NAME}, so their '
          'settings are unknown. Choose another root_dir.')
    return
  try:
    with open(path, encoding='utf-8') as f:
      found = _flat(dict(json.load(f)))
  except (TypeError, ValueError) as e:
    raise ValueError(
        f'{path}, which holds the settings of the run, is damaged: {e}. Put '
        'back a copy of it, repair it (it is JSON), or choose another '
        'root_dir.') from e
  found.pop(_VERSION, None)
  asked = _flat(_record(experiment))
  differ = [
      f'  {name}: the run has {found.get(name, "(none)")!r}, '
      f'asked for {asked.get(name, "(none)")!r}'
      for name in sorted({*found, *asked})
      # As text, because NaN does not equal itself.
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
  record = {**_record(experiment), _VERSION: __version__}
  with atomic_files.replace(path) as f:
    json.dump(record, f, indent=2, sort_keys=True)
    f.write('\n')


def confirm(experiment: experiment_config.ExperimentConfig) -> None:
  """Checks that this host sees the directory that host 0 has claimed.

  Args:
    experiment: the experiment of all hosts.

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
  """Returns whether the run is trained, saved and evaluated completely.

  An evaluation that is recorded as lost is not waited for.

  Raises:
    ValueError: if `evaluations.npz` is damaged.
  """
  last = checkpointing.latest_step(experiment.root_dir)
  if last != experiment.gradient_steps(experiment.num_steps):
    return False
  evaluated = {*evaluations.load(experiment.root_dir),
               *evaluations.lost(experiment.root_dir)}
  return evaluated.issuperset(experiment.evaluated_steps())
