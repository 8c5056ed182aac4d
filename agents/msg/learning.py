"""The MSG learner."""

from typing import Any, Optional, Sequence

from acme.utils import counting
from acme.utils import loggers
import jax

from . import config as msg_config
from . import config_checks
from . import state as msg_state
from . import update
from .. import offline_learner
from .. import parallel
from .. import scanned_program
from .. import sharding
from ... import networks as networks_lib


class MSGLearner(offline_learner.OfflineLearner):
  """Learns a policy and an ensemble of critics from a fixed dataset.

  Devices divide the ensemble, or the batch if members share a network
  (docs/msg.md 9.1). Each `step` runs S = `num_sgd_steps_per_step` gradient
  steps.
  """

  def __init__(
      self,
      networks: networks_lib.MSGNetworks,
      config: msg_config.MSGConfig,
      random_key: jax.Array,
      dataset: offline_learner.Dataset,
      counter: Optional[counting.Counter] = None,
      logger: Optional[loggers.Logger] = None,
      devices: Optional[Sequence[Any]] = None,
  ):
    """Initialises the learner.

    Args:
      networks: policy and critics.
      config: the agent's options.
      random_key: seeds parameters and all later randomness.
      dataset: a whole dataset or an iterator of batches of S * B transitions.
      counter: counts gradient steps as 'learner_steps'.
      logger: gets the metrics of each learner step.
      devices: where to run; all devices of all hosts by default.

    Raises:
      ValueError: if critics and config contradict each other, if the number
        of devices does not divide the ensemble (or the batch), or if the
        dataset lacks what an option needs.
    """
    config_checks.validate_critic(config, networks.critic)
    devices = parallel.ParallelMap(devices, config.parallel_map)
    optimizers = msg_state.make_optimizers(config)
    shard = sharding.make_shard(
        networks.critic, config.batch_size, devices.num_devices)
    state = jax.jit(
        lambda key: msg_state.init_state(key, networks, optimizers))(
            parallel.raw_key(random_key))
    super().__init__(
        scanned_program.Program(
            update.make_update_step(networks, config, optimizers, shard),
            state,
            msg_state.split_leaves(
                state, networks.critic, optimizers, devices.num_devices),
            shard, devices, config.num_sgd_steps_per_step, config.batch_size,
            config.resident_data),
        {'policy': 'policy_params', 'critic': 'critic_params'},
        dataset,
        config.num_sgd_steps_per_step,
        needs_next_actions=config.options_with_next_actions,
        counter=counter,
        logger=logger,
        remedy=f'a lower q_lr (now {config.q_lr:g}) or policy_lr (now '
               f'{config.policy_lr:g}), or a smaller reward_scale (now '
               f'{config.reward_scale:g})')
