"""Our builders as builders of Acme 0.4.0, to learn offline or online.

The release on PyPI knows one kind of builder, `GenericActorLearnerBuilder`, for
agents that act and learn. The adapter here makes one out of any builder of this
room, for the layouts of that release as they are. Today's Acme takes our
builders without it.
"""

from typing import Any, Callable, Iterator, List, Optional

from acme import adders
from acme import core
from acme import datasets
from acme import specs
from acme import types
from acme.adders import reverb as reverb_adders
from acme.agents.jax import builders
from acme.utils import counting
from acme.utils import loggers
import jax
import reverb

from . import offline_builder
from ..agents import feed_forward_actor
from ..agents import offline_learner

_TABLE = reverb_adders.DEFAULT_PRIORITY_TABLE
# By how much samples may be out of step with insertions: this share of the
# samples that the table's least size allows, as in Acme's own agents.
_TOLERANCE = 0.1


def _make_logger(label: str, steps_key: Optional[str] = None,
                 task_instance: int = 0) -> loggers.Logger:
  del task_instance
  return loggers.make_default_logger(
      label, save_data=False, steps_key=steps_key or 'learner_steps')


def _identity(transition: types.Transition) -> types.Transition:
  return transition


class ActorLearnerBuilder(builders.GenericActorLearnerBuilder):
  """Makes any of our builders one of Acme 0.4.0.

  With a dataset the learner learns from that alone, and nobody writes to the
  replay table that the layouts insist on. Without one it learns from the table
  what actors do. To fine-tune a policy online, take the `save()` of its offline
  learner as the `state` of a second adapter.
  """

  def __init__(
      self,
      builder: offline_builder.FeedForwardBuilder,
      environment_spec: specs.EnvironmentSpec,
      *,
      dataset_factory: Optional[Callable[[], offline_learner.Dataset]] = None,
      state: Any = None,
      transform: Callable[[types.Transition], types.Transition] = _identity,
      logger_fn: Callable[..., loggers.Logger] = _make_logger,
      max_replay_size: int = 1_000_000,
      min_replay_size: int = 1,
      samples_per_insert: Optional[float] = None,
  ):
    """Creates the builder.

    Args:
      builder: the agent.
      environment_spec: of the environment that is acted in.
      dataset_factory: returns what is learned from, see `MSGBuilder`; called by
        the learner's process. None: learn from the replay table.
      state: where the learner goes on, the `save()` of another learner. A
        checkpoint that a layout finds counts more.
      transform: maps batches `[S * B, ...]` from the table to what is learned
        from. Rewards come in the environment's own unit: it applies what the
        dataset's loader applied to its own, if anything.
      logger_fn: makes the learner's logger, from a label and `steps_key`.
      max_replay_size: transitions in the table, of which the oldest go first.
      min_replay_size: transitions before the first batch. Leave it at 1 where
        one thread both acts and learns, as in `LocalLayout`, which has a
        minimum of its own.
      samples_per_insert: transitions drawn from the table for each that is
        added; learner or actors wait for the others. None: nobody does, which
        is for `LocalLayout`, too.

    Raises:
      ValueError: if an option needs next actions, which the table lacks.
    """
    needed = builder.options_with_next_actions
    if dataset_factory is None and needed:
      raise ValueError(
          f'{" and ".join(needed)} needs the data\'s next actions, which are '
          'not known when actors add a transition to the table. Turn the '
          'option off, or learn from a dataset.')
    self._builder = builder
    self._environment_spec = environment_spec
    self._dataset_factory = dataset_factory
    self._state = state
    self._transform = transform
    self._logger_fn = logger_fn
    self._max_replay_size = max_replay_size
    self._min_replay_size = min_replay_size
    self._samples_per_insert = samples_per_insert

  def make_replay_tables(
      self, environment_spec: specs.EnvironmentSpec) -> List[reverb.Table]:
    """Makes the one table, of single transitions that are drawn uniformly.

    It takes only what has the types of the spec. Where an environment mixes
    float32 and float64, wrap it in `acme.wrappers.SinglePrecisionWrapper`.
    """
    least, ratio = self._min_replay_size, self._samples_per_insert
    if ratio is None:
      limiter = reverb.rate_limiters.MinSize(least)
    else:
      limiter = reverb.rate_limiters.SampleToInsertRatio(
          ratio, least,
          error_buffer=max(_TOLERANCE * least * ratio, 2 * max(1., ratio)))
    return [reverb.Table(
        name=_TABLE,
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        max_size=self._max_replay_size,
        rate_limiter=limiter,
        signature=reverb_adders.NStepTransitionAdder.signature(
            environment_spec))]

  def make_dataset_iterator(
      self, replay_client: reverb.Client) -> Iterator[types.Transition]:
    """Makes an iterator of batches `[S * B, ...]` from the table.

    It is empty where there is a dataset: layouts may want to prefetch from it,
    which a resident dataset does not need.
    """
    if self._dataset_factory is not None:
      return iter(())
    # More parallel calls would draw batches long before they are learned from.
    samples = datasets.make_reverb_dataset(
        server_address=replay_client.server_address, table=_TABLE,
        batch_size=self._builder.transitions_per_step, num_parallel_calls=1)
    # Reverb's are named tuples of its own.
    return (self._transform(types.Transition(*sample.data))
            for sample in samples.as_numpy_iterator())

  def make_adder(
      self, replay_client: reverb.Client) -> Optional[adders.Adder]:
    """Makes what writes to the table; None where there is a dataset."""
    if self._dataset_factory is not None:
      return None
    # The learner discounts, so that the adder must not.
    return reverb_adders.NStepTransitionAdder(
        replay_client, n_step=1, discount=1., priority_fns={_TABLE: None})

  def make_actor(
      self,
      random_key: jax.Array,
      policy_network: Callable[..., jax.Array],
      adder: Optional[adders.Adder] = None,
      variable_source: Optional[core.VariableSource] = None,
  ) -> core.Actor:
    """Makes an actor of a policy from the builder's `make_policy`."""
    return feed_forward_actor.make_actor(
        random_key, policy_network, variable_source,
        self._builder.variable_names, adder)

  def make_learner(
      self,
      random_key: jax.Array,
      networks: Any,
      dataset: Iterator[types.Transition],
      replay_client: Optional[reverb.Client] = None,
      counter: Optional[counting.Counter] = None,
  ) -> core.Learner:
    """Makes the learner, taken to the `state` if there is one."""
    del replay_client
    if self._dataset_factory is not None:
      dataset = self._dataset_factory()
    learner = self._builder.make_learner(
        random_key, networks, dataset, self._logger_fn,
        self._environment_spec, counter=counter)
    if self._state is not None:
      learner.restore(self._state)
    return learner
