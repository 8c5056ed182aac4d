"""Collects a small file of RANDOM data from D4RL's antmaze-umaze-v2.

Actions are uniform noise. The data is useless for learning AntMaze, and not
comparable with D4RL's files. Tests use it where they need a file in D4RL's
layout with rows from the real environment.

  python random_antmaze.py FILE.hdf5
"""

import sys

from acme_msg.environments import d4rl_environment
import h5py
import numpy as np


def collect(path: str, episodes: int = 6, seed: int = 0) -> None:
  """Writes whole episodes of uniformly random actions to a new HDF5 file.

  Every other episode starts just outside the goal, so that some episodes reach
  it and the file has rewards and terminals.

  Args:
    path: the file, which must not exist.
    episodes: number of episodes, of at most 700 steps each.
    seed: seeds the environment and the actions.
  """
  environment = d4rl_environment.make('antmaze-umaze-v2', seed)
  ant = environment.environment.unwrapped.wrapped_env
  random = np.random.RandomState(seed)
  rows = {name: [] for name in (
      'observations', 'actions', 'rewards', 'terminals', 'timeouts',
      'infos/goal', 'infos/qpos', 'infos/qvel')}
  for episode in range(episodes):
    observation = environment.reset().observation
    if episode % 2:
      ant.set_xy(np.add(ant.target_goal, [0.55, 0.]))
      observation = np.float32(ant._get_obs())
    last = False
    while not last:
      action = random.uniform(-1., 1., 8).astype(np.float32)
      qpos, qvel = ant.data.qpos.copy(), ant.data.qvel.copy()
      timestep = environment.step(action)
      last = timestep.last()
      for name, value in zip(rows, (
          observation, action, timestep.reward, last and not timestep.discount,
          last and timestep.discount == 1., ant.target_goal, qpos, qvel)):
        rows[name].append(value)
      observation = timestep.observation
  flags = ('terminals', 'timeouts')
  with h5py.File(path, 'x') as file:
    for name, values in rows.items():
      file[name] = np.array(values, bool if name in flags else np.float32)


if __name__ == '__main__':
  collect(sys.argv[1])
