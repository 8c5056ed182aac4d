"""The same episodes, written with each library, give the same transitions.

Names that are not datasets, and datasets that are not valid, are refused.
"""

import os
import pickle
import re
import shutil

from acme_msg import datasets
from acme_msg.datasets import episodes as episodes_lib
from acme_msg.datasets import sources
import h5py
import numpy as np
import pytest
from tensorflow_datasets.core.utils import gcs_utils
import writing


@pytest.fixture(autouse=True)
def only_here(tmp_path, monkeypatch):
  """Hides the datasets of this machine and refuses the network."""
  def refuse(path):
    raise AssertionError(f'TFDS looked for {path} on the network')
  monkeypatch.setattr(gcs_utils, 'exists', refuse)
  monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path / 'minari'))
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
  monkeypatch.setenv('D4RL_DATASET_DIR', str(tmp_path / 'd4rl'))


@pytest.fixture(params=[*writing.WRITERS, 'episodes'])
def source(request, stored, episodes):
  if request.param == 'episodes':
    return datasets.from_episodes(episodes)
  return stored(request.param)


def test_tfds_below_a_relative_root(tmp_path, monkeypatch, episodes):
  writing.WRITERS['tfds'](tmp_path, episodes)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('TFDS_DATA_DIR', './tfds')
  assert next(datasets.find('mine').blocks())


def _expected(made, n_step=1, discount=1.):
  """Returns the columns of the transitions, computed one by one."""
  rows = []
  for e in made:
    length = len(e['rewards'])
    actions = writing.final(e['actions'])
    for t in range(length):
      m = min(n_step, length - t)
      ends = t + m == length and e['terminated']
      rows.append((
          e['observations'][t], actions[t],
          sum(discount**k * float(e['rewards'][t + k]) for k in range(m)),
          0. if ends else discount**(m - 1),
          e['observations'][t + m] * (not ends),
          actions[t] if ends else actions[t + m]))
  return [np.array(column, np.float32) for column in zip(*rows)]


def _leaves(transition):
  """Returns the columns; next observations are zero where the discount is."""
  return [
      *transition[:4],
      transition.next_observation * (transition.discount != 0)[:, None],
      transition.extras['next_action']]


def _assert_equal(found, expected, exact=True):
  for a, b in zip(_leaves(found), expected, strict=True):
    assert a.dtype == np.float32 and a.flags.c_contiguous
    if exact:
      np.testing.assert_array_equal(a, b)
    else:
      np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def _join(blocks):
  blocks = [(*b[:5], b.extras['next_action']) for b in blocks]
  return [np.concatenate(columns) for columns in zip(*blocks)]


def _assert_blocks_equal_whole(source, *args, num_rows=(1, 7, 20)):
  whole = datasets.load(source, *args)
  for rows in num_rows:
    blocks = list(datasets.transition_blocks(source, *args, num_rows=rows))
    for a, b in zip(_join(blocks), (*whole[:5], whole.extras['next_action'])):
      assert a.tobytes() == b.tobytes()
  return whole


def test_all_sources_give_the_same_transitions(source, episodes):
  source = pickle.loads(pickle.dumps(source))
  _assert_equal(_assert_blocks_equal_whole(source), _expected(episodes))


@pytest.mark.parametrize('kind', ['tfds', 'minari', 'episodes'])
def test_nested_observations_are_flattened_alike(
    kind, tmp_path, episodes, nested):
  source = (datasets.from_episodes(nested) if kind == 'episodes' else
            sources.find(writing.WRITERS[kind](tmp_path, nested)))
  _assert_equal(datasets.load(source), _expected(episodes))


def test_order_of_flattening():
  tree = {'b': 1, 'a': ({'z': 2, 'y': 3}, 4),
          'c': {f'_index_{i}': i for i in (10, 9, 0)}}
  assert list(episodes_lib.leaves('o', tree)) == [
      ('o/a/0/y', 3), ('o/a/0/z', 2), ('o/a/1', 4), ('o/b', 1),
      ('o/c/_index_0', 0), ('o/c/_index_9', 9), ('o/c/_index_10', 10)]


@pytest.mark.parametrize('options, chosen', [
    (dict(num_episodes=4), [0, 1, 2, 3]),
    (dict(split='[:50%]'), [0, 1, 2, 3]),
    (dict(split='[50%:]'), [4, 5, 6, 7, 8]),
    (dict(split='[50%:7]'), [4, 5, 6]),
    (dict(split='[2:6]', num_episodes=2), [2, 3]),
    (dict(top_fraction=.3), 'best 3'),
    (dict(n_step=3), None),
    (dict(n_step=50, split='[1:]'), range(1, 9))])
def test_options(source, episodes, options, chosen):
  if chosen == 'best 3':
    returns = [episode['rewards'].sum() for episode in episodes]
    chosen = sorted(np.argsort(returns)[-3:])
  made = episodes if chosen is None else [episodes[i] for i in chosen]
  found = _assert_blocks_equal_whole(
      source, '', datasets.DataOptions(**options), .9)
  _assert_equal(found, _expected(made, options.get('n_step', 1), .9),
                exact='n_step' not in options)


def test_goal_gives_ogbench_data_rewards(tmp_path, episodes):
  path = writing.WRITERS['ogbench'](tmp_path, episodes)
  with np.load(path) as file:
    columns = dict(file)
  for name in ('rewards', 'masks'):
    del columns[name]
  np.savez(path, **columns)  # Not compressed, unlike the original.
  with pytest.raises(ValueError, match="no field 'rewards'.*--dataset_goal="):
    datasets.load(sources.find(path))

  goal = tuple(episodes[3]['observations'][4, :2])
  # Positions from the observation, from `qpos`, and from a point mass's `qpos`.
  for qpos, shift, tolerance in (
      (None, 0, .5), (columns['observations'] + 1, 1, .5),
      (columns['observations'][:, :2] - 1, -1, 1.)):
    if qpos is not None:
      np.savez(path, qpos=qpos, **columns)
    found = _assert_blocks_equal_whole(
        sources.find(path, goal=tuple(np.add(goal, shift))))
    near = np.linalg.norm(
        found.observation[:, :2] - goal, axis=-1) <= tolerance
    assert 0 < near.sum() < len(near)
    np.testing.assert_array_equal(found.reward, np.where(near, 0, -1))
    np.testing.assert_array_equal(found.discount, ~near)


def test_fortran_ordered_npz_is_read(tmp_path, episodes):
  path = writing.WRITERS['ogbench'](tmp_path, episodes)
  expected = datasets.load(sources.find(path))
  with np.load(path) as file:
    columns = {name: np.asfortranarray(file[name]) for name in file}
  np.savez(path, **columns)
  found = _assert_blocks_equal_whole(sources.find(path))
  np.testing.assert_array_equal(found.observation, expected.observation)


def test_names_paths_and_prefixes(tmp_path, monkeypatch, episodes, path):
  monkeypatch.chdir(tmp_path)
  os.mkdir('d4rl')
  shutil.copy(path, 'd4rl/hopper_medium-v2.hdf5')
  writing.WRITERS['tfds'](tmp_path, episodes)
  writing.WRITERS['minari'](tmp_path, episodes)
  prepared = str(tmp_path / 'tfds/mine/1.2.0')
  minari = str(tmp_path / 'minari/mine-test-v0/data/main_data.hdf5')
  task = str(tmp_path / 'd4rl/hopper_medium-v2.hdf5')
  for dataset, kind, name in (
      ('mine', 'rlds', prepared), ('tfds:mine', 'rlds', prepared),
      ('mine:1.2.0', 'rlds', prepared), ('tfds/mine', 'rlds', prepared),
      (prepared, 'rlds', prepared), ('mine-test-v0', 'minari', minari),
      ('minari:mine-test-v0', 'minari', minari),
      ('minari/mine-test-v0', 'minari', minari), (minari, 'minari', minari),
      ('hopper-medium-v2', 'd4rl', task), ('', 'd4rl', task),
      ('d4rl:' + task, 'd4rl', task), ('./d4rl/hopper_medium-v2.hdf5', 'd4rl',
                                       task)):
    source = sources.find(dataset, 'hopper-medium-v2')
    assert (source.kind, source.name) == (kind, name)

  # A directory with the name of a dataset does not hide the dataset.
  os.mkdir('hopper-medium-v2')
  assert sources.find('hopper-medium-v2').name == task
  # Two names of one dataset are no conflict.
  with monkeypatch.context() as there:
    there.chdir(tmp_path / 'tfds')
    assert sources.find('mine').name == prepared
  # Versions are compared as numbers, not as text.
  shutil.copytree(prepared, 'tfds/mine/1.10.0')
  assert sources.find('mine').name.endswith('1.10.0')
  # One name means two datasets.
  shutil.copytree('tfds/mine', 'minari/mine/data')
  shutil.copy(minari, 'minari/mine/data/main_data.hdf5')
  with pytest.raises(ValueError, match='minari:mine or tfds:mine'):
    sources.find('mine')
  assert sources.find('tfds:mine').kind == 'rlds'
  shutil.copytree('tfds/mine', 'mine')
  with pytest.raises(ValueError, match=r'\./mine or minari:mine or tfds'):
    sources.find('mine')
  assert sources.find('./mine').name == str(tmp_path / 'mine/1.10.0')


@pytest.mark.parametrize('dataset, options, error, words', [
    ('none.hdf5', {}, FileNotFoundError, ['none.hdf5', 'nothing on this']),
    ('d4rl_antmaze/umaze-v0', {}, FileNotFoundError,
     ['TFDS_DATA_DIR', "tfds.builder('d4rl_antmaze/umaze-v0').download"]),
    ('door-human-v9', {}, FileNotFoundError,
     ['MINARI_DATASETS_PATH', 'minari download door-human-v9']),
    ('hopper-medium-v2', {}, FileNotFoundError,
     ['hopper_medium-v2.hdf5', 'D4RL_DATASET_DIR', 'http']),
    ('d4rl:hopping', {}, ValueError, ["'hopping' is not a known D4RL task"]),
    ('', dict(task_name='hopping'), ValueError, ["'hopping' is not a known"]),
    ('pointmaze-umaze', {}, FileNotFoundError,
     ['acme_msg.datasets.pointmaze_generator pointmaze-umaze']),
    ('ogbench:rows.hdf5', {}, ValueError, ['rows.hdf5 looks like a D4RL']),
    ('empty', {}, ValueError, ['no dataset_info.json', 'here are: versions']),
    ('rows.hdf5', dict(goal=(1, 2)), ValueError, ['goal is for OGBench']),
    ('x.npz', dict(episode_limit=3), ValueError, ['episode limit is for D4RL']),
])
def test_what_is_no_dataset_is_refused_at_once(
    tmp_path, monkeypatch, path, dataset, options, error, words):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('ACME_MSG_DATA_DIR', str(tmp_path))
  assert os.path.basename(path) == 'rows.hdf5'
  os.makedirs('empty/versions')
  open('x.npz', 'w').close()
  with pytest.raises(error) as raised:
    sources.find(dataset, **options)
  for word in words:
    assert word in str(raised.value)


def _change(**changes):
  def change(made):
    made[2].update(changes)
  return change


def _set(field, index, value):
  def change(made):
    made[2][field] = np.array(made[2][field])
    made[2][field][index] = value
  return change


_BROKEN = {
    'missing': (lambda made: made[2].pop('terminated'),
                ["'terminated' is missing", 'found observations, actions']),
    'NaN': (_set('observations', (1, 3), np.nan),
            ["'observations' is nan at [1, 3]"]),
    'out of bounds': (_set('actions', (0, 1), 1.5),
                      ["'actions' is 1.5 at [0, 1]", 'rescale']),
    'length': (_change(rewards=np.zeros(4)),
               ['2 observations, 1 actions and 4 rewards']),
    'no step': (_change(rewards=np.zeros(0)), ["'rewards' is empty"]),
    'strings': (_change(actions=np.array([['left', 'up']])),
                ["'actions' has the type <U4", 'strings']),
    'images': (_change(observations={
        'rgb': np.zeros((2, 8, 8, 3)), 'x': np.zeros((2, 5))}),
               ["'observations/rgb' has the shape (2, 8, 8, 3)", 'images']),
    'other size': (_change(observations=np.zeros((2, 4))),
                   ["'observation': 4", "'observation': 5"]),
    'uneven': (_change(observations={
        'a': np.zeros((2, 4)), 'b': np.zeros((1, 1))}),
               ["'observations/b' has 1 rows", 'have 2']),
    'flag': (_change(terminated=2), ["'terminated' is 2 at [0]"]),
    'flags': (_change(terminated=np.zeros(3)),
              ["'terminated' has the shape (3,)"]),
}


@pytest.mark.parametrize('kind', _BROKEN)
def test_bad_episode_is_named(episodes, kind):
  change, parts = _BROKEN[kind]
  made = [dict(episode) for episode in episodes]
  change(made)
  with pytest.raises(ValueError) as error:
    datasets.from_episodes(made, name='mine')
  for part in ['mine: episode 2', *parts]:
    assert part in str(error.value)


def test_end_within_an_episode_is_refused(episodes):
  made = [{**episodes[0], 'terminated': [0, 1, 0, 0, 0]}]
  with pytest.raises(ValueError, match=r"'terminated' is set at \[1\], and"):
    datasets.from_episodes(made)
  with pytest.raises(ValueError, match='there are no episodes'):
    datasets.from_episodes([])


def test_without_final_observations_the_last_of_a_cut_episode_is_lost(episodes):
  made = [{**e, 'observations': e['observations'][:-1]} for e in episodes]
  expected = []
  for e in episodes:
    length = len(e['rewards']) - (not e['terminated'])
    if length:
      expected.append({
          'observations': e['observations'][:length + 1],
          **{name: e[name][:length] for name in ('actions', 'rewards')},
          'terminated': e['terminated']})
  found = datasets.load(datasets.from_episodes(made))
  # The next action of the omitted step is known, unlike in `expected`.
  for a, b in zip(_leaves(found)[:5], _expected(expected)[:5]):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('field, value, words', [
    ('rewards', np.array([np.inf]), ["'rewards' is inf at [0]"]),
    ('actions', np.array([[3., 0.]]), ["'actions' is 3 at [0, 0]"]),
    ('terminations', np.array([5]), ["'terminations' is 5 at [0]"]),
    ('observations', np.zeros((2, 8, 8, 3), np.uint8),
     ["'observations' has the shape (2, 8, 8, 3)", 'images'])])
def test_bad_minari_episode_is_named(tmp_path, episodes, field, value, words):
  source = sources.find(writing.WRITERS['minari'](tmp_path, episodes))
  with h5py.File(source.name, 'a') as file:
    del file['episode_2'][field]
    file['episode_2'][field] = value
  with pytest.raises(ValueError) as error:
    source.load_steps()
  for word in [f'{source.name}: episode 2', *words]:
    assert word in str(error.value)


def test_minari_file_without_all_episodes_is_refused(tmp_path, episodes):
  source = sources.find(writing.WRITERS['minari'](tmp_path, episodes))
  with h5py.File(source.name, 'a') as file:
    del file['episode_8']
  with pytest.raises(ValueError, match='total_episodes=9, and 8 groups'):
    source.load_steps()


@pytest.mark.parametrize('change, words', [
    (lambda c: c.pop('actions'), ["'actions' is missing", 'observations']),
    (lambda c: c.update(actions=c['actions'] * 9), ["'actions'", 'rescale']),
    (lambda c: c.update(masks=c['masks'] / 2), ["'masks' is 0.5 at [0]"]),
    (lambda c: c['rewards'].__setitem__(33, np.nan),
     ["'rewards' is nan at [33]"]),
    (lambda c: c.update(rewards=c['rewards'][:-1]), ['rewards 49']),
    (lambda c: c.update(observations=np.zeros((50, 64, 64, 3), np.uint8)),
     ["'observations' has the shape (50, 64, 64, 3)", 'images'])])
def test_bad_npz_is_named(tmp_path, episodes, change, words):
  path = writing.WRITERS['ogbench'](tmp_path, episodes)
  with np.load(path) as file:
    columns = dict(file)
  change(columns)
  np.savez(path, **columns)
  source = sources.find(path)
  for num_rows in (10, 1000):
    with pytest.raises(ValueError) as error:
      list(source.blocks(num_rows))
    for word in [path, *words]:
      assert word in str(error.value)


def test_damaged_npz_is_named(tmp_path, episodes):
  path = writing.WRITERS['ogbench'](tmp_path, episodes)
  with open(path, 'rb') as file:
    content = bytearray(file.read())
  for damaged in (content[:100], content[:-30],
                  content[:200] + b'x' * 40 + content[240:]):
    with open(path, 'wb') as file:
      file.write(damaged)
    with pytest.raises(ValueError, match=f'{re.escape(path)}: .*damaged'):
      sources.find(path).load_steps()
