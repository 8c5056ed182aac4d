"""Adapts our builders to Acme 0.4.0, to learn offline or online.

Acme 0.4.0, the release on PyPI, has one builder interface,
`GenericActorLearnerBuilder`, for agents that act and learn. The adapter here
implements it for any builder of this room, so that the layouts of that release
run our agents. Today's Acme takes our builders without an adapter.
"""

import dataclasses
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
# Rate-limiter tolerance, relative to `min_replay_size * samples_per_insert`, as
# in Acme's own agents.
_TOLERANCE = 0.1


def _make_logger(label: str, steps_key: Optional[str] = None,
                 task_instance: int = 0) -> loggers.Logger:
  del task_instance
  return loggers.make_default_logger(
      label, save_data=False, steps_key=steps_key or 'learner_steps')


def _identity(transition: types.Transition) -> types.Transition:
  return transition


@dataclasses.dataclass(eq=False)
class ActorLearnerBuilder(builders.GenericActorLearnerBuilder):
  """Adapts one of our builders to the builder interface of Acme 0.4.0.

  With a dataset, the learner learns from the dataset alone, and the replay
  table that the layouts require stays empty. Without a dataset, it learns from
  the transitions that actors add to the table. To fine-tune a policy online,
  give the `save()` of its offline learner as `state`.

  Attributes:
    builder: the agent.
    environment_spec: the spec of the environment that actors act in.
    dataset_factory: returns the dataset, see `MSGBuilder.make_learner`. It is
      called in the learner's process. None: learn from the replay table.
    state: the `save()` of another learner, which the learner starts from. A
      checkpoint that the layout finds replaces it.
    transform: applied to each batch `[S * B, ...]` from the table. Rewards in
      the table are the environment's own; apply the reward transform of the
      dataset (docs/msg.md 8.2) here if the state was trained with one.
    logger_fn: makes the learner's logger, from a label and `steps_key`.
    max_replay_size: capacity of the table in transitions; the oldest are
      removed first.
    min_replay_size: transitions in the table before the first batch. Leave it
      at 1 where one thread both acts and learns, as in `LocalLayout`, which has
      a minimum of its own.
    samples_per_insert: transitions drawn from the table per transition added;
      the learner waits for the actors or the actors for the learner. None:
      neither waits, as `LocalLayout` requires.

  Raises:
    ValueError: if there is no dataset and the agent needs more than actors add
      to the table: next actions, or the statistics of a dataset.
  """
  builder: offline_builder.FeedForwardBuilder
  environment_spec: specs.EnvironmentSpec
  _: dataclasses.KW_ONLY
  dataset_factory: Optional[Callable[[], offline_learner.Dataset]] = None
  state: Any = None
  transform: Callable[[types.Transition], types.Transition] = _identity
  logger_fn: Callable[..., loggers.Logger] = _make_logger
  max_replay_size: int = 1_000_000
  min_replay_size: int = 1
  samples_per_insert: Optional[float] = None

  def __post_init__(self):
    if self.state is not None:
      self.builder = self.builder.with_state(self.state)
    if self.dataset_factory is None:
      self.builder.check_actor_data()

  def make_replay_tables(
      self, environment_spec: specs.EnvironmentSpec) -> List[reverb.Table]:
    """Makes one table of single transitions, sampled uniformly.

    The table accepts only the dtypes of the spec. Wrap an environment that
    mixes float32 and float64 in `acme.wrappers.SinglePrecisionWrapper`.
    """
    least, ratio = self.min_replay_size, self.samples_per_insert
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
        max_size=self.max_replay_size,
        rate_limiter=limiter,
        signature=reverb_adders.NStepTransitionAdder.signature(
            environment_spec))]

  def make_dataset_iterator(
      self, replay_client: reverb.Client) -> Iterator[types.Transition]:
    """Makes an iterator of batches `[S * B, ...]` from the table.

    With a dataset the iterator is empty, since layouts may prefetch from it.
    """
    if self.dataset_factory is not None:
      return iter(())
    # More parallel calls would draw batches long before the learner uses them.
    samples = datasets.make_reverb_dataset(
        server_address=replay_client.server_address, table=_TABLE,
        batch_size=self.builder.transitions_per_step, num_parallel_calls=1)
    # Reverb's samples are named tuples of another class.
    return (self.transform(types.Transition(*sample.data))
            for sample in samples.as_numpy_iterator())

  def make_adder(
      self, replay_client: reverb.Client) -> Optional[adders.Adder]:
    """Makes the adder that writes to the table; None with a dataset."""
    if self.dataset_factory is not None:
      return None
    # The learner applies the discount, so the adder must not.
    return reverb_adders.NStepTransitionAdder(
        replay_client, n_step=1, discount=1., priority_fns={_TABLE: None})

  def make_actor(
      self,
      random_key: jax.Array,
      policy_network: Callable[..., jax.Array],
      adder: Optional[adders.Adder] = None,
      variable_source: Optional[core.VariableSource] = None,
  ) -> core.Actor:
    """Makes an actor that runs a policy from the builder's `make_policy`."""
    return feed_forward_actor.make_actor(
        random_key, policy_network, variable_source,
        self.builder.variable_names, adder)

  def make_learner(
      self,
      random_key: jax.Array,
      networks: Any,
      dataset: Iterator[types.Transition],
      replay_client: Optional[reverb.Client] = None,
      counter: Optional[counting.Counter] = None,
  ) -> core.Learner:
    """Makes the learner, and restores `state` if there is one."""
    del replay_client
    if self.dataset_factory is not None:
      dataset = self.dataset_factory()
    learner = self.builder.make_learner(
        random_key, networks, dataset, self.logger_fn,
        self.environment_spec, counter=counter)
    if self.state is not None:
      learner.restore(self.state)
    return learner
