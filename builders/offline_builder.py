"""What the builders have in common with today's Acme."""

import abc
from typing import Any, Callable, Optional, Sequence, Tuple

from acme import core
from acme import specs
from acme.utils import counting
from acme.utils import loggers
import jax
import numpy as np

from ..agents import feed_forward_actor

try:
  # Today's Acme; the release on PyPI (0.4.0) does not have it.
  from acme.agents.jax.builders import OfflineBuilder  # pytype: disable=import-error
except ImportError:

  class OfflineBuilder(abc.ABC):
    """The interface that today's Acme gives offline agents."""

    @abc.abstractmethod
    def make_learner(
        self,
        random_key: jax.Array,
        networks: Any,
        dataset: Any,
        logger_fn: Callable[..., loggers.Logger],
        environment_spec: specs.EnvironmentSpec,
        *,
        counter: Optional[counting.Counter] = None,
    ) -> core.Learner:
      """Makes the learner."""

    @abc.abstractmethod
    def make_actor(
        self,
        random_key: jax.Array,
        policy: Any,
        environment_spec: specs.EnvironmentSpec,
        variable_source: Optional[core.VariableSource] = None,
    ) -> core.Actor:
      """Makes an actor for evaluation."""

    @abc.abstractmethod
    def make_policy(
        self,
        networks: Any,
        environment_spec: specs.EnvironmentSpec,
        evaluation: bool,
    ) -> Any:
      """Makes the policy that an actor executes."""


class FeedForwardBuilder(OfflineBuilder):
  """Makes the actors of agents whose policies are plain functions.

  Such a policy is `policy(params, key, observation [B, O]) -> action [B, A]`.
  """

  def __init__(self, config: Any):
    """Creates the builder.

    Args:
      config: the agent's options.
    """
    self._config = config

  @property
  def config(self) -> Any:
    """The agent's options."""
    return self._config

  @property
  def transitions_per_step(self) -> int:
    """S * B, the transitions that one learner step learns from."""
    return self._config.num_sgd_steps_per_step * self._config.batch_size

  @property
  def options_with_next_actions(self) -> Sequence[str]:
    """The options in force that need the data's next actions."""
    return ()

  @property
  def variable_names(self) -> Sequence[str]:
    """The learner's variables that are the policy's params, as a list if many.

    They are the same whether the policy evaluates or not.
    """
    return ('policy',)

  def make_actor(
      self,
      random_key: jax.Array,
      policy: Callable[..., jax.Array],
      environment_spec: specs.EnvironmentSpec,
      variable_source: Optional[core.VariableSource] = None,
  ) -> core.Actor:
    """Makes an actor that keeps one set of weights for a whole episode.

    Args:
      random_key: seeds the policy.
      policy: from `make_policy`.
      environment_spec: unused.
      variable_source: the learner, or what serves its variables.

    Returns:
      The actor.

    Raises:
      ValueError: if there is no variable source.
    """
    del environment_spec
    return feed_forward_actor.make_actor(
        random_key, policy, variable_source, self.variable_names)


def flat_sizes(spec: specs.EnvironmentSpec) -> Tuple[int, int]:
  """Sizes of observation and action.

  Args:
    spec: the environment's.

  Returns:
    (O, A).

  Raises:
    ValueError: if they are not vectors, or actions are not within [-1, 1].
  """
  for name, array in (
      ('observations', spec.observations), ('actions', spec.actions)):
    if len(getattr(array, 'shape', ())) != 1:
      raise ValueError(
          f'The environment\'s {name} must be one vector, but their spec is '
          f'{array}. Flatten them with a wrapper.')
  # Unbounded actions have a spec without bounds.
  minimum = getattr(spec.actions, 'minimum', -np.inf)
  maximum = getattr(spec.actions, 'maximum', np.inf)
  if not (np.all(minimum == -1) and np.all(maximum == 1)):
    raise ValueError(
        'The policy acts within [-1, 1], but the environment takes actions '
        f'from {minimum} to {maximum}. Wrap it in '
        'acme.wrappers.CanonicalSpecWrapper.')
  return spec.observations.shape[0], spec.actions.shape[0]
