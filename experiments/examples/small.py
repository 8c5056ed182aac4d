"""The task and the small agent that the examples share."""

from .. import algorithms
from .. import tasks
from ...agents import msg

TASK_NAME = 'pointmaze-umaze'

CONFIG = msg.MSGConfig(
    policy_lr=3e-4, q_lr=1e-3, alpha_lr=3e-3, tau=0.02, discount=0.98,
    batch_size=128, target_entropy=0.5,
    num_sgd_steps_per_step=50, ensemble_size=4, use_double_q=True, beta=-4.,
    num_bc_iters=1000, behavior_regularization_type='v1',
    behavior_regularization_alpha=0.5,
    actor_network_hidden_sizes=(64, 64), critic_network_hidden_sizes=(64, 64))

AGENT = algorithms.make_agent(CONFIG)


def make_task() -> tasks.Task:
  """Returns the task: factories of dataset and environment."""
  return tasks.make_task(tasks.TaskConfig('pointmaze', TASK_NAME))
