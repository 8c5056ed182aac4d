"""A small environment: move a point in the plane to the origin."""

from typing import Callable

from acme import specs
from acme import types
import dm_env
import numpy as np

_NUM_STEPS = 10


class Plane(dm_env.Environment):
  """Actions move the point by half their length; reward is minus its distance.

  Observations are the point `[2]`, actions `[2]` in [-1, 1]. Episodes have ten
  steps and are never terminal.
  """

  def __init__(self, seed: int = 0):
    self._rng = np.random.default_rng(seed)

  def reset(self) -> dm_env.TimeStep:
    self._point = self._rng.uniform(-1., 1., 2).astype(np.float32)
    self._time = 0
    return dm_env.restart(self._point)

  def step(self, action) -> dm_env.TimeStep:
    specs.BoundedArray((2,), np.float32, -1., 1.).validate(action)
    reward = -np.linalg.norm(self._point)
    self._point = (self._point + 0.5 * action).astype(np.float32)
    self._time += 1
    if self._time == _NUM_STEPS:
      return dm_env.truncation(reward, self._point)
    return dm_env.transition(reward, self._point)

  def observation_spec(self):
    return specs.Array((2,), np.float32, 'observation')

  def action_spec(self):
    return specs.BoundedArray((2,), np.float32, -1., 1., 'action')


def collect(policy: Callable[[np.ndarray], np.ndarray],
            num_episodes: int) -> types.Transition:
  """Returns the transitions of a policy, a map `[2]` -> `[2]`."""
  environment = Plane()
  rows = []
  for _ in range(num_episodes):
    timestep = environment.reset()
    while not timestep.last():
      observation = timestep.observation
      action = policy(observation).astype(np.float32)
      timestep = environment.step(action)
      rows.append((observation, action, np.float32(timestep.reward),
                   np.float32(timestep.discount), timestep.observation))
  return types.Transition(*(np.stack(column) for column in zip(*rows)))
