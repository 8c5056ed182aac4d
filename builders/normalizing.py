"""Observations of mean 0 and standard deviation 1, for any of our builders."""

from typing import Any, List, NamedTuple, Optional, Sequence

from acme import core
from acme import types
import numpy as np

from . import offline_builder
from ..agents import offline_learner

# Added to each standard deviation, as in CORL, so that features that hardly
# vary in the data are not scaled up.
_EPSILON = 1e-3
_VARIABLE = 'observation_statistics'


class Statistics(NamedTuple):
  """Observations `x` are normalised to `(x - mean) / scale`.

  Attributes:
    mean: `[O]` float32.
    scale: `[O]` float32, positive.
  """
  mean: np.ndarray
  scale: np.ndarray

  def apply(self, observation):
    """Normalises observations `[..., O]`."""
    return (observation - self.mean) / self.scale


def _statistics_of(dataset: Any) -> Statistics:
  """Returns the statistics of a whole dataset, or of a stream's dataset."""
  if offline_learner.is_transition(dataset):
    x = np.asarray(dataset.observation)
    mean = x.mean(axis=0, dtype=np.float64)
    deviation = x.std(axis=0, dtype=np.float64)
  elif hasattr(dataset, _VARIABLE):
    mean, deviation = dataset.observation_statistics()
  else:
    raise ValueError(
        'Observations can be normalised only if their mean and standard '
        'deviation over the dataset are known, but the dataset is a '
        f'{type(dataset).__name__}. Give a whole dataset, a stream from '
        'datasets.make_stream, or NormalizingBuilder(..., statistics=...).')
  return Statistics(np.asarray(mean, np.float32),
                    np.asarray(deviation + _EPSILON, np.float32))


def _normalize(
    statistics: Statistics, transitions: types.Transition) -> types.Transition:
  return transitions._replace(
      observation=statistics.apply(transitions.observation),
      next_observation=statistics.apply(transitions.next_observation))


class NormalizedState(NamedTuple):
  """The state of a learner on normalised observations."""
  statistics: Statistics
  learner: Any


class NormalizingBuilder(offline_builder.FeedForwardBuilder):
  """Normalises the observations of an agent, in training and in acting.

  The statistics are a variable of the learner beside the policy, and part of
  its state, so that actors and checkpoints have them wherever they have the
  policy.
  """

  def __init__(self, builder: offline_builder.FeedForwardBuilder,
               statistics: Optional[Statistics] = None):
    """Creates the builder.

    Args:
      builder: the agent.
      statistics: how to normalise. None: by the mean and standard deviation of
        the dataset that `make_learner` is given. To go on from a learner of
        another dataset, give `learner.save().statistics`.
    """
    super().__init__(builder.config)
    self._builder = builder
    self._statistics = statistics

  @property
  def variable_names(self) -> Sequence[str]:
    """The agent's variables, and 'observation_statistics'."""
    return (*self._builder.variable_names, _VARIABLE)

  def with_state(self, state: NormalizedState) -> 'NormalizingBuilder':
    """Returns a builder that normalises by the statistics of a state.

    Raises:
      ValueError: if the state is not from a learner of a `NormalizingBuilder`.
    """
    if not isinstance(state, NormalizedState):
      raise ValueError(
          'The state must be the save() of a learner from NormalizingBuilder, '
          f'which holds the observation statistics, not a '
          f'{type(state).__name__}.')
    return NormalizingBuilder(
        self._builder.with_state(state.learner), _as_arrays(state.statistics))

  def check_actor_data(self) -> None:
    """See the base class; statistics must be known before actors act."""
    self._builder.check_actor_data()
    if self._statistics is None:
      raise ValueError(
          'NormalizingBuilder cannot learn from actors alone: the mean and '
          'standard deviation of the observations are not known. Give the '
          'state of an offline learner, a dataset, or '
          'NormalizingBuilder(..., statistics=...).')

  def make_learner(self, random_key, networks, dataset, logger_fn,
                   environment_spec, *, counter=None):
    """Makes the agent's learner, on normalised observations.

    The learner has the additional variable 'observation_statistics', and its
    `restore` raises ValueError if a state has other statistics. Unless the
    builder was given statistics, a dataset of batches needs a method
    `observation_statistics()` that returns mean and standard deviation, `[O]`
    each.

    Raises:
      ValueError: if the statistics are not known.
    """
    statistics = self._statistics
    if statistics is None:
      statistics = _statistics_of(dataset)
    if offline_learner.is_transition(dataset):
      dataset = _normalize(statistics, dataset)
    else:
      dataset = (_normalize(statistics, batch) for batch in dataset)
    return _NormalizingLearner(
        self._builder.make_learner(
            random_key, networks, dataset, logger_fn, environment_spec,
            counter=counter),
        statistics)

  def make_policy(self, networks, environment_spec, evaluation):
    """Makes the agent's policy on observations that it normalises first."""
    policy = self._builder.make_policy(networks, environment_spec, evaluation)

    def normalized_policy(params, key, observation):
      *own, statistics = params
      return policy(
          own if len(own) > 1 else own[0], key,
          Statistics(*statistics).apply(observation))

    return normalized_policy


def _as_arrays(statistics: Statistics) -> Statistics:
  return Statistics(*map(np.asarray, statistics))


class _NormalizingLearner(core.Learner):
  """A learner that also serves and saves the statistics of its data."""

  def __init__(self, learner: offline_learner.OfflineLearner,
               statistics: Statistics):
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
    # The data is already normalised. A stream and a whole dataset may round the
    # same statistics differently.
    for name, found, own in zip(
        Statistics._fields, _as_arrays(state.statistics), self._statistics):
      if found.shape != own.shape or not np.allclose(found, own, rtol=1e-5):
        raise ValueError(
            f'The state\'s observation statistics have the {name} {found}, but '
            f'this learner\'s data is normalised with {own}. Restore the state '
            'on the dataset that it was trained on, or make the learner with '
            'NormalizingBuilder(..., statistics=state.statistics).')
    self._learner.restore(state.learner)
