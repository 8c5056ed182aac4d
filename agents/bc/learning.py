"""The behaviour-cloning learner."""

from typing import Any, Optional, Sequence

from acme.utils import counting
from acme.utils import loggers
import jax
import optax

from . import config as bc_config
from . import update
from .. import offline_learner
from .. import parallel
from .. import scanned_program
from .. import sharding
from ... import networks as networks_lib


class BCLearner(offline_learner.OfflineLearner):
  """Fits a policy to the data's actions; devices divide the batch."""

  def __init__(
      self,
      policy: networks_lib.PolicyNetwork,
      config: bc_config.BCConfig,
      random_key: jax.Array,
      dataset: offline_learner.Dataset,
      counter: Optional[counting.Counter] = None,
      logger: Optional[loggers.Logger] = None,
      devices: Optional[Sequence[Any]] = None,
  ):
    """Initialises the learner; arguments and errors are as in `MSGLearner`."""
    devices = parallel.ParallelMap(devices, config.parallel_map)
    optimizer = optax.adam(config.policy_lr)
    shard = sharding.divide_batch(config.batch_size, devices.num_devices)
    state = jax.jit(
        lambda key: update.init_state(key, policy, optimizer))(
            parallel.raw_key(random_key))
    super().__init__(
        scanned_program.Program(
            update.make_update_step(policy, config, optimizer, shard),
            state, jax.tree.map(lambda _: False, state), shard, devices,
            config.num_sgd_steps_per_step, config.batch_size,
            config.resident_data),
        {'policy': 'policy_params'}, dataset, config.num_sgd_steps_per_step,
        counter=counter, logger=logger,
        remedy=f'a lower policy_lr (now {config.policy_lr:g})')
