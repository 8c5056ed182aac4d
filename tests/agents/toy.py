"""A program of gradient steps that compiles fast: a running sum."""

from typing import Any, NamedTuple

from acme import types
from acme_msg.agents import metrics
from acme_msg.agents import parallel
from acme_msg.agents import scanned_program
from acme_msg.agents import sharding
import jax
import numpy as np


class State(NamedTuple):
  """A sum of rewards, some members, a key and the steps done."""
  total: Any
  members: Any
  key: Any
  steps: Any


def make_state(num_members: int = 4) -> State:
  """Returns the initial state."""
  return State(np.zeros((), np.float32),
               np.arange(num_members, dtype=np.float32),
               jax.random.PRNGKey(0), np.zeros((), np.int32))


def make_data(num_transitions: int = 10) -> types.Transition:
  """Transitions that differ in their rewards 0, 1, 2, ..."""
  rewards = np.arange(num_transitions, dtype=np.float32)
  column = rewards[:, None]
  return types.Transition(column, column, rewards, np.ones_like(rewards),
                          column, {'next_action': column})


def make_program(num_sgd_steps_per_step: int = 3, batch_size: int = 2,
                 devices=None, step=None, parallel_map='pmap',
                 resident_data='replicated') -> scanned_program.Program:
  """A program whose steps sum rewards and add one to members."""
  devices = parallel.ParallelMap(
      devices or jax.local_devices()[:1], parallel_map)

  def add_rewards(state, transition):
    batch = transition.reward.sum()
    return (
        state._replace(total=state.total + batch, members=state.members + 1,
                       steps=state.steps + 1),
        metrics.step_metrics(1., scalars={'batch': batch}))

  return scanned_program.Program(
      step or add_rewards, make_state(), State(False, True, False, False),
      sharding.Shard(devices.num_devices, 4, 'members'), devices,
      num_sgd_steps_per_step, batch_size, resident_data)
