"""A run's directory: who may resume it, and whether the run is finished."""

import json
import os
import time
from typing import Any, Dict, List, Mapping, Optional

from . import checkpointing
from . import evaluations
from . import experiment_config
from . import run_lock
from .. import __version__
from .. import atomic_files

_NAME = 'config.json'
# Says what wrote the record; it is never compared.
_VERSION = 'acme_msg_version'
# What identifies the data, see `ExperimentConfig.dataset_identity`.
_DATA = 'data'
# The name of the dataset in the record of the settings.
_DATASET = 'config.dataset'
# Seconds until a host sees what another one has made: NFS remembers for up to
# a minute that something was missing.
_VISIBLE_SECS = 90.


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


def _identity(
    experiment: experiment_config.ExperimentConfig) -> Dict[str, Any]:
  if experiment.dataset_identity is None:
    return {'kind': 'own'}
  return json.loads(json.dumps(experiment.dataset_identity()))


def identify(experiment: experiment_config.ExperimentConfig,
             num_transitions: int) -> Mapping[str, Any]:
  """Returns what identifies a dataset that was read, for `claim`.

  Args:
    experiment: the experiment.
    num_transitions: transitions of its dataset, with its options on data.
  """
  return {**_identity(experiment), 'num_transitions': num_transitions}


def _is_other_data(found: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
  """Whether two identities differ in something that both of them have.

  Equal data may lie elsewhere, under another name.
  """
  return any(found[name] != asked[name] for name in found.keys() & asked.keys()
             if name not in ('kind', 'name', 'path'))


def check(experiment: experiment_config.ExperimentConfig,
          data: Optional[Mapping[str, Any]] = None) -> None:
  """Refuses to resume a run that was started with other settings or data.

  `num_steps` may grow, because it is absolute. The version of this package,
  which runs before 0.2 did not record, is not compared. Data is compared as far
  as it is known: older runs did not record it.

  Args:
    experiment: the experiment that wants to use its `root_dir`.
    data: from `identify`; by default, what is known of the data before it is
      read.

  Raises:
    ValueError: if the directory holds checkpoints or evaluations of unknown
      settings, or of settings or data that differ; lists what differs.
  """
  root_dir = experiment.root_dir
  path = os.path.join(root_dir, _NAME)
  if not os.path.exists(path):
    strange = {'checkpoints', 'evaluations.npz'}.intersection(
        os.listdir(root_dir) if os.path.isdir(root_dir) else ())
    if strange:
      raise ValueError(
          f'{root_dir} holds {sorted(strange)} but no {_NAME}, so their '
          'settings are unknown. Put back a copy of it, or choose another '
          'root_dir.')
    return
  try:
    with open(path, encoding='utf-8') as f:
      record = dict(json.load(f))
      found_data = dict(record.pop(_DATA, {}))
  except (TypeError, ValueError) as e:
    raise ValueError(
        f'{path}, which holds the settings of the run, is damaged: {e}. Put '
        'back a copy of it, repair it (it is JSON), or choose another '
        'root_dir.') from e
  record.pop(_VERSION, None)
  if data is None:
    data = _identity(experiment) if found_data else {}
  found, asked = _flat(record), _flat(_record(experiment))
  names = {*found, *asked}
  if asked['num_steps'] > found.get('num_steps', 0):
    names.discard('num_steps')
  if 'digest' in found_data and 'digest' in data:
    names.discard(_DATASET)  # The data itself decides.
  differ = _differences(found, asked, sorted(names))
  if _is_other_data(found_data, data):
    differ += _differences(
        found_data, data, sorted(found_data.keys() & data.keys()), f'{_DATA}.')
  if differ:
    raise ValueError(
        f'{path} belongs to a run with other settings:\n' + '\n'.join(differ) +
        '\nUse these settings to resume it, or choose another root_dir.')


def _differences(found: Mapping[str, Any], asked: Mapping[str, Any],
                 names: List[str], prefix: str = '') -> List[str]:
  """Returns a line for each of the names whose values differ."""
  return [
      f'  {prefix}{name}: the run has {found.get(name, "(none)")!r}, '
      f'asked for {asked.get(name, "(none)")!r}'
      for name in names
      # As text, because NaN does not equal itself.
      if json.dumps(found.get(name)) != json.dumps(asked.get(name))]


def claim(experiment: experiment_config.ExperimentConfig,
          data: Mapping[str, Any]) -> None:
  """Checks the directory and records the experiment's settings in it.

  Args:
    experiment: the experiment.
    data: from `identify`.
  """
  check(experiment, data)
  path = os.path.join(experiment.root_dir, _NAME)
  record = {**_record(experiment), _DATA: data, _VERSION: __version__}
  with atomic_files.replace(path) as f:
    json.dump(record, f, indent=2, sort_keys=True)
    f.write('\n')


def confirm(experiment: experiment_config.ExperimentConfig) -> None:
  """Checks that this host sees the directory that host 0 has locked.

  Args:
    experiment: the experiment of all hosts.

  Raises:
    ValueError: if this host finds nothing there, or other settings.
  """
  deadline = time.monotonic() + _VISIBLE_SECS
  while not run_lock.exists(experiment.root_dir):
    if time.monotonic() > deadline:
      raise ValueError(
          f'Host 0 works in {experiment.root_dir}, but this host does not find '
          f'its lock there after {_VISIBLE_SECS:g} s. root_dir must be on a '
          'file system that all hosts share.')
    time.sleep(0.5)
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
