"""Makes small experiments in the embedded task."""

from acme_msg.experiments import gin_options
from acme_msg.experiments import settings
from acme_msg.experiments import tasks

TASK = 'pointmaze-umaze-diverse'


def make_experiment(
    options, root_dir='nowhere', dataset=None, algorithm='msg',
    data=settings.DataConfig(), budget=settings.Budget(4, 2, 1), **fields):
  """Makes an experiment of MSG.

  Args:
    options: fields of `MSGConfig`, such as 'ensemble_size=2'.
    root_dir: the run's directory.
    dataset: path of the data; None for the task's own.
    algorithm: the agent.
    data: how the dataset is used.
    budget: number of steps and evaluations.
    **fields: other arguments of `settings.make_experiment`.
  """
  gin_options.parse([], [f'msg.config.MSGConfig.{o}' for o in options])
  return settings.make_experiment(
      settings.AgentConfig(algorithm),
      tasks.TaskConfig('pointmaze', TASK, dataset), budget, data,
      root_dir=str(root_dir), **fields)
