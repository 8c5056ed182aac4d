"""The evaluator node: runs whole episodes with one set of weights at a time."""

import threading
from typing import Any, List, Mapping, Optional, Sequence, Tuple

import acme
from acme import core
from acme import types
from acme.utils import loggers
from acme.utils import observers
import jax
import numpy as np

from . import experiment_config
from . import node_status
from . import packing
from . import shutdown


class _Snapshot(core.VariableSource):
  """Serves one fixed set of variables."""

  def __init__(self, variables: Mapping[str, types.NestedArray]):
    self._variables = variables

  def get_variables(self, names: Sequence[str]) -> List[types.NestedArray]:
    return [self._variables[name] for name in names]


class _StopObserver(observers.EnvLoopObserver):
  """Ends an episode when the program ends."""

  def __init__(self, stop: threading.Event):
    self._stop = stop

  def observe_first(self, env, timestep):
    shutdown.check(self._stop)

  def observe(self, env, timestep, action):
    shutdown.check(self._stop)

  def get_metrics(self):
    return {}


class EvaluatorNode:
  """Evaluates the weights that the learner publishes.

  Every evaluation has its own actor and environment, with seeds derived from
  the experiment's seed and the gradient step only. A repeated evaluation gives
  the same result, on any evaluator and at any time.
  """

  def __init__(self, experiment: experiment_config.ExperimentConfig,
               learner: Any = None, index: int = 0,
               stop: Optional[threading.Event] = None):
    """Initializes the node.

    Args:
      experiment: the experiment with the agent to evaluate.
      learner: client of the learner node; only `run` needs it.
      index: this evaluator's index in the program.
      stop: ends `evaluate` once it is set; `run` takes the program's own.
    """
    self._experiment = experiment
    self._learner = learner
    self._name = f'evaluator_{index}'
    self._stop = stop or threading.Event()
    self._spec = experiment.environment_spec()
    self._policy = experiment.builder.make_policy(
        experiment.network_factory(self._spec), self._spec, True)

  def evaluate(self, step: int,
               weights: bytes) -> Tuple[List[float], List[int]]:
    """Runs the experiment's number of episodes.

    Args:
      step: the gradient step of the weights.
      weights: packed variables by name, as published by the learner.

    Returns:
      Undiscounted returns `[episodes]` and lengths `[episodes]`.

    Raises:
      shutdown.Stopped: if the program is ending.
    """
    experiment = self._experiment
    actor = experiment.builder.make_actor(
        jax.random.fold_in(jax.random.PRNGKey(experiment.seed), step),
        self._policy, self._spec,
        variable_source=_Snapshot(packing.unpack(weights)))
    actor.update(wait=True)
    seed = int(np.random.SeedSequence(
        (experiment.seed, step)).generate_state(1)[0] >> 1)
    with experiment.environment_factory(seed) as environment:
      loop = acme.EnvironmentLoop(
          environment, actor, logger=loggers.NoOpLogger(), should_update=False,
          observers=[_StopObserver(self._stop)])
      episodes = [
          loop.run_episode() for _ in range(experiment.episodes_per_eval)]
    return ([float(episode['episode_return']) for episode in episodes],
            [int(episode['episode_length']) for episode in episodes])

  def run(self) -> None:
    """Evaluates until the program ends."""
    self._stop = shutdown.begin()
    try:
      while True:
        claimed = shutdown.result(
            self._learner.claim(self._name, 1.), self._stop)
        if claimed is not None:
          returns, lengths = self.evaluate(*claimed)
          shutdown.result(
              self._learner.report(self._name, returns, lengths),
              self._stop)
          node_status.evaluated()
    except shutdown.Stopped:
      pass
