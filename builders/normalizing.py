"""Observations of mean 0 and standard deviation 1, for any of our builders."""

from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence

from acme import core
from acme import specs
from acme import types
from acme.utils import counting
from acme.utils import loggers
import jax
import numpy as np

from . import offline_builder
from ..agents import offline_learner

# Added to each standard deviation, as in CORL: what hardly varies in the data
# is not blown up.
_EPSILON = 1e-3
_VARIABLE = 'observation_statistics'


class Statistics(NamedTuple):
  """What observations are normalised by: `(x - mean) / scale`.

  Attributes:
    mean: `[O]` float32.
    scale: `[O]` float32, positive.
  """
  mean: np.ndarray
  scale: np.ndarray

  def apply(self, observation):
    """Normalises observations `[..., O]`."""
    return (observation - self.mean) / self.scale


def _statistics(dataset: Any) -> Statistics:
  """Returns those of a whole dataset, or of the one behind an iterator."""
  if isinstance(dataset, types.Transition):
    x = np.asarray(dataset.observation)
    mean = x.mean(axis=0, dtype=np.float64)
    deviation = x.std(axis=0, dtype=np.float64)
  elif hasattr(dataset, _VARIABLE):
    mean, deviation = dataset.observation_statistics()
  else:
    raise ValueError(
        'Observations can be normalised only if their mean and standard '
        'deviation over the dataset are known, but the dataset is a '
        f'{type(dataset).__name__}. Give a whole dataset, or a stream from '
        'datasets.make_dataset.')
  return Statistics(np.asarray(mean, np.float32),
                    np.asarray(deviation + _EPSILON, np.float32))


def _normalize(statistics: Statistics, transitions: types.Transition):
  return transitions._replace(
      observation=statistics.apply(transitions.observation),
      next_observation=statistics.apply(transitions.next_observation))


class NormalizingBuilder(offline_builder.FeedForwardBuilder):
  """Lets an agent see normalised observations, in training and acting.

  The statistics are a variable of the learner beside the policy's, and part of
  its state, so that they are wherever the policy is.
  """

  def __init__(self, builder: offline_builder.FeedForwardBuilder):
    """Creates the builder.

    Args:
      builder: the agent.
    """
    super().__init__(builder.config)
    self._builder = builder

  @property
  def options_with_next_actions(self) -> Sequence[str]:
    return self._builder.options_with_next_actions

  @property
  def variable_names(self) -> Sequence[str]:
    """The agent's, and the statistics."""
    return (*self._builder.variable_names, _VARIABLE)

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
    """Makes the agent's learner, on normalised observations.

    Args:
      random_key: see the agent's builder, as for the others.
      networks: likewise.
      dataset: a whole dataset, or an iterator of batches that has their
        `observation_statistics()`: mean and standard deviation, `[O]` each.
      logger_fn: likewise.
      environment_spec: likewise.
      counter: likewise.

    Returns:
      A learner with the variable 'observation_statistics' besides.

    Raises:
      ValueError: if the statistics are not known.
    """
    statistics = _statistics(dataset)
    if isinstance(dataset, types.Transition):
      dataset = _normalize(statistics, dataset)
    else:
      dataset = _normalized(statistics, dataset)
    return _NormalizingLearner(
        self._builder.make_learner(
            random_key, networks, dataset, logger_fn, environment_spec,
            counter=counter),
        statistics)

  def make_policy(
      self,
      networks: Any,
      environment_spec: specs.EnvironmentSpec,
      evaluation: bool,
  ) -> Callable[..., jax.Array]:
    """Makes the agent's policy, which normalises what it is given."""
    policy = self._builder.make_policy(networks, environment_spec, evaluation)

    def normalized_policy(params, key, observation):
      *own, statistics = params
      return policy(
          own if len(own) > 1 else own[0], key,
          Statistics(*statistics).apply(observation))

    return normalized_policy


def _normalized(
    statistics: Statistics, batches: Iterator[types.Transition],
) -> Iterator[types.Transition]:
  for batch in batches:
    yield _normalize(statistics, types.Transition(*batch))


class NormalizedState(NamedTuple):
  """A learner's state, with the statistics.

  Attributes:
    statistics: what observations are normalised by.
    learner: the agent's own state.
  """
  statistics: Statistics
  learner: Any


class _NormalizingLearner(core.Learner):
  """A learner that also serves and saves the statistics."""

  def __init__(self, learner: offline_learner.OfflineLearner, statistics: Statistics):
    self._learner = learner
    self._statistics = statistics

  def step(self):
    self._learner.step()

  def get_variables(self, names: Sequence[str]) -> List[Any]:
    own = iter(self._learner.get_variables(
        [name for name in names if name != _VARIABLE]))
    return [self._statistics if name == _VARIABLE else next(own)
            for name in names]

  def save(self) -> NormalizedState:
    return NormalizedState(self._statistics, self._learner.save())

  def global_state(self) -> NormalizedState:
    return NormalizedState(self._statistics, self._learner.global_state())

  def restore(self, state: NormalizedState):
    self._statistics = Statistics(*map(np.asarray, state.statistics))
    self._learner.restore(state.learner)
