"""Dataset files and episode limits of D4RL's tasks."""

_AGENTS = ('halfcheetah', 'hopper', 'walker2d', 'ant')
_HANDS = ('pen', 'hammer', 'door', 'relocate')

# In steps, by the longest prefix of a task's name; from D4RL 1.1.
_EPISODE_LIMITS = {
    'antmaze-': 1000,
    'antmaze-umaze-': 700,
    'maze2d-open-': 150,
    'maze2d-umaze-': 300,
    'maze2d-medium-': 600,
    'maze2d-large-': 800,
    'kitchen-': 280,
    **{f'{agent}-': 1000 for agent in _AGENTS},
    **{f'{hand}-': 200 for hand in _HANDS},
    'pen-': 100,
}


def episode_limit(task_name: str) -> int:
  """Returns the number of steps after which an episode is truncated.

  Args:
    task_name: such as 'antmaze-umaze-v0'.

  Raises:
    ValueError: if the task is unknown.
  """
  known = [p for p in _EPISODE_LIMITS if task_name.startswith(p)]
  if not known:
    raise ValueError(
        f'the episode limit of the task {task_name!r} is unknown; pass '
        '`episode_limit`, in steps.')
  return _EPISODE_LIMITS[max(known, key=len)]


def _files() -> dict[str, str]:
  """Returns the file of each task, relative to the root of D4RL's server."""
  files = {}

  mazes = {'umaze': 'u-maze', 'medium': 'big-maze', 'large': 'hardest-maze'}
  starts_and_goals = {
      'umaze': (False, False), 'umaze-diverse': (True, True),
      'medium-play': (True, False), 'medium-diverse': (True, True),
      'large-play': (True, False), 'large-diverse': (True, True)}
  for kind, (starts, goals) in starts_and_goals.items():
    name = (f'Ant_maze_{mazes[kind.split("-")[0]]}_noisy_multistart_{starts}_'
            f'multigoal_{goals}_sparse')
    files[f'antmaze-{kind}-v0'] = f'ant_maze_new/{name}.hdf5'
    files[f'antmaze-{kind}-v2'] = f'ant_maze_v2/{name}_fixed.hdf5'

  files['maze2d-open-v0'] = 'maze2d/maze2d-open-sparse.hdf5'
  files['maze2d-open-dense-v0'] = 'maze2d/maze2d-open-dense.hdf5'
  for maze in mazes:
    files[f'maze2d-{maze}-v1'] = f'maze2d/maze2d-{maze}-sparse-v1.hdf5'
    files[f'maze2d-{maze}-dense-v1'] = f'maze2d/maze2d-{maze}-dense-v1.hdf5'

  for agent in _AGENTS:
    for data in ('random', 'medium', 'expert', 'medium-replay',
                 'medium-expert', 'full-replay'):
      stem = f'{agent}_{data.replace("-", "_")}'
      for version in ('v1', 'v2'):
        files[f'{agent}-{data}-{version}'] = (
            f'gym_mujoco_{version}/{stem}-{version}.hdf5')
      if data != 'full-replay':
        stem = stem.replace('medium_replay', 'mixed')
        files[f'{agent}-{data}-v0'] = f'gym_mujoco/{stem}.hdf5'
  files['walker2d-medium-replay-v0'] = 'gym_mujoco/walker_mixed.hdf5'
  files['ant-random-expert-v0'] = 'gym_mujoco/ant_random_expert.hdf5'

  for hand in _HANDS:
    files[f'{hand}-human-v0'] = f'hand_dapg/{hand}-v0_demos_clipped.hdf5'
    files[f'{hand}-cloned-v0'] = f'hand_dapg/{hand}-demos-v0-bc-combined.hdf5'
    files[f'{hand}-expert-v0'] = f'hand_dapg/{hand}-v0_expert_clipped.hdf5'
    for data in ('human', 'cloned', 'expert'):
      files[f'{hand}-{data}-v1'] = f'hand_dapg_v1/{hand}-{data}-v1.hdf5'

  kitchen = 'kitchen_microwave_kettle'
  files['kitchen-complete-v0'] = (
      f'kitchen/mini_{kitchen}_light_slider-v0.hdf5')
  files['kitchen-partial-v0'] = f'kitchen/{kitchen}_light_slider-v0.hdf5'
  files['kitchen-mixed-v0'] = f'kitchen/{kitchen}_bottomburner_light-v0.hdf5'
  return files


# By task name: the folder and name of its file on D4RL's server.
FILES = _files()
