"""Acme's interface of offline builders, and the base of our builders."""

import abc
from typing import Any, Callable, Optional, Sequence, Tuple

from acme import core
from acme import specs
from acme.utils import counting
from acme.utils import loggers
import jax
import numpy as np

from ..agents import feed_forward_actor
from ..agents import offline_learner

try:
  # In today's Acme, but not in Acme 0.4.0.
  from acme.agents.jax.builders import OfflineBuilder
except ImportError:

  class OfflineBuilder(abc.ABC):  # type: ignore[no-redef]
    """The interface of offline agents in today's Acme.

    Types are those of `FeedForwardBuilder`, with any networks and policy.
    """

    @abc.abstractmethod
    def make_learner(self, random_key, networks, dataset, logger_fn,
                     environment_spec, *, counter=None) -> core.Learner:
      """Makes the learner."""

    @abc.abstractmethod
    def make_actor(self, random_key, policy, environment_spec,
                   variable_source=None) -> core.Actor:
      """Makes an actor for evaluation."""

    @abc.abstractmethod
    def make_policy(self, networks, environment_spec, evaluation: bool) -> Any:
      """Makes the policy that an actor runs."""


class FeedForwardBuilder(OfflineBuilder):
  """Base of builders of agents with feed-forward policies.

  A subclass for an agent names its learner and defines `_policy`.
  """
  # Called like `MSGLearner`.
  _learner_class: Any = None

  def __init__(self, config: Any):
    self._config = config

  @property
  def config(self) -> Any:
    """The agent's options."""
    return self._config

  @property
  def transitions_per_step(self) -> int:
    """S * B: the transitions of one learner step of S gradient steps."""
    return self._config.num_sgd_steps_per_step * self._config.batch_size

  @property
  def variable_names(self) -> Sequence[str]:
    """Names of the learner's variables that the policy needs.

    The policy's `params` are the value of the variable, or the list of values
    if there are several. Policies for acting and for evaluation need the same.
    """
    return ('policy',)

  def with_state(self, state: Any) -> 'FeedForwardBuilder':
    """Returns a builder whose learners can restore `state`, a `save()`.

    It is this builder, unless it computes something from the dataset that must
    come from the state instead.
    """
    del state
    return self

  def check_actor_data(self) -> None:
    """Checks that the agent can learn from actors, without a dataset.

    Raises:
      ValueError: if the agent needs more than the transitions of actors.
    """
    needed = getattr(self._config, 'options_with_next_actions', ())
    if needed:
      raise ValueError(
          f'{" and ".join(needed)} needs the data\'s next actions, which are '
          'not known when actors add a transition to the table. Turn the '
          'option off, or learn from a dataset.')

  def make_learner(
      self,
      random_key: jax.Array,
      networks: Any,
      dataset: offline_learner.Dataset,
      logger_fn: Callable[..., loggers.Logger],
      environment_spec: specs.EnvironmentSpec,
      *,
      counter: Optional[counting.Counter] = None,
  ) -> core.Learner:
    """Makes the agent's learner, which has at least the variable 'policy'.

    Args:
      random_key: seeds parameters and all later randomness.
      networks: from `make_msg_networks` or `make_bc_networks`.
      dataset: a whole dataset (one `Transition`) or an iterator of batches of
        S * B transitions.
      logger_fn: makes the learner's logger, from a label and `steps_key`.
      environment_spec: unused.
      counter: counts gradient steps as 'learner_steps'.

    Raises:
      ValueError: if the number of devices or the dataset does not fit the
        config.
    """
    del environment_spec
    return self._learner_class(
        networks, self._config, random_key, dataset, counter=counter,
        logger=logger_fn('learner', steps_key='learner_steps'))

  def make_policy(
      self,
      networks: Any,
      environment_spec: specs.EnvironmentSpec,
      evaluation: bool,
  ) -> Callable[..., jax.Array]:
    """Makes `policy(params, key, observation [B, O]) -> action [B, A]`.

    Args:
      networks: those of the learner.
      environment_spec: unused.
      evaluation: True: the mode `config.evaluation_mode` (docs/msg.md 7.1);
        False: sample.

    Returns:
      The policy; its params are the values of `variable_names`.
    """
    del environment_spec
    return self._policy(
        networks, self._config.evaluation_mode if evaluation else 'sample')

  def _policy(self, networks: Any, mode: str) -> Callable[..., jax.Array]:
    raise NotImplementedError

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
      variable_source: the learner, or a client that serves its variables.

    Raises:
      ValueError: if there is no variable source.
    """
    del environment_spec
    return feed_forward_actor.make_actor(
        random_key, policy, variable_source, self.variable_names)


def flat_sizes(spec: specs.EnvironmentSpec) -> Tuple[int, int]:
  """Returns `(O, A)`, the sizes of observations and actions.

  Raises:
    ValueError: if observations or actions are not vectors, or the bounds of
      actions are not [-1, 1].
  """
  for name, array in (
      ('observations', spec.observations), ('actions', spec.actions)):
    if len(getattr(array, 'shape', ())) != 1:
      raise ValueError(
          f'The environment\'s {name} must be one vector, but their spec is '
          f'{array}. Flatten them with a wrapper.')
  # The spec of unbounded actions has no bounds.
  minimum = getattr(spec.actions, 'minimum', -np.inf)
  maximum = getattr(spec.actions, 'maximum', np.inf)
  if not (np.all(minimum == -1) and np.all(maximum == 1)):
    raise ValueError(
        'The policy acts within [-1, 1], but the environment takes actions '
        f'from {minimum} to {maximum}. Wrap it in '
        'acme.wrappers.CanonicalSpecWrapper.')
  return spec.observations.shape[0], spec.actions.shape[0]
