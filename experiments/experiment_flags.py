"""The flags that describe an experiment, and the experiment they describe."""

from typing import Optional, Tuple

from absl import flags

from . import algorithms
from . import settings
from ..datasets import rewards
from ..datasets import loading
from ..datasets.delivery import streaming
from ..launch import experiment_config

_ALGORITHM = flags.DEFINE_enum(
    'algorithm', 'msg', algorithms.ALGORITHMS, 'The agent.')
_TASK_CLASS = flags.DEFINE_string(
    'task_class', 'pointmaze',
    "'pointmaze', the embedded tasks, or 'd4rl', the real ones.")
_TASK_NAME = flags.DEFINE_string(
    'task_name', 'pointmaze-umaze-diverse',
    "Such as 'pointmaze-umaze-diverse' or 'antmaze-large-diverse-v2'.")
_DATASET = flags.DEFINE_string(
    'dataset', None,
    "Data to use instead of the task's own: an HDF5 file of D4RL's layout, the "
    'name or directory of a TFDS (RLDS) dataset, the name or directory of a '
    'Minari dataset, or an OGBench file (.npz). datasets/README.md shows them.')
flags.DEFINE_alias('dataset_path', 'dataset')
_DATASET_GOAL = flags.DEFINE_list(
    'dataset_goal', None,
    "X,Y of the goal that rewards OGBench's mazes, whose files have none.")
_REWARD_TRANSFORM = flags.DEFINE_enum(
    'reward_transform', 'auto', rewards.NAMES, 'What the agent is rewarded by.')
_SPLIT = flags.DEFINE_string(
    'split', None, "A part of the dataset's episodes, such as '[:80%]'.")
_NUM_EPISODES = flags.DEFINE_integer(
    'num_episodes', None, 'Use so many episodes only, the first ones.')
_TOP_FRACTION = flags.DEFINE_float(
    'top_fraction', None,
    'Use this fraction of the episodes only, those of the highest returns.')
_N_STEP = flags.DEFINE_integer('n_step', 1, 'Steps that a transition spans.')
_NORMALIZE_OBSERVATIONS = flags.DEFINE_bool(
    'normalize_observations', False,
    'Let the agent see observations with mean 0 and standard deviation 1 over '
    'the dataset.')
_DATA_MODE = flags.DEFINE_enum(
    'data_mode', 'resident', experiment_config.DATA_MODES,
    "'resident', where the learner holds the whole dataset, or 'stream', for "
    'datasets of any size.')
_SHUFFLE_BUFFER = flags.DEFINE_integer(
    'shuffle_buffer', streaming.SHUFFLE_BUFFER,
    'Of streamed data, the transitions that are shuffled at once; the learner '
    'holds about three times as many.')
_ROOT_DIR = flags.DEFINE_string(
    'root_dir', None,
    'Directory of the run; runs/TASK-ALGORITHM-seedSEED by default. Nothing in '
    'it is ever deleted: a run that is there is resumed.')
_SEED = flags.DEFINE_integer('seed', 1, 'Seed of everything.')
_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 1_000_000, 'Learner steps of the whole run.')
_EVAL_EVERY_STEPS = flags.DEFINE_integer(
    'eval_every_steps', 10_000,
    'Learner steps between evaluations; divides num_steps.')
_EPISODES_PER_EVAL = flags.DEFINE_integer(
    'episodes_per_eval', 10, 'Episodes of each evaluation.')
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', None,
    'Transitions per learner step: num_sgd_steps_per_step times those per '
    "gradient step. By default the latter is the agent's option batch_size.")
_NUM_SGD_STEPS_PER_STEP = flags.DEFINE_integer(
    'num_sgd_steps_per_step', None,
    "Gradient steps per learner step; by default the agent's option.")
_GIN_CONFIGS = flags.DEFINE_multi_string(
    'gin_configs', [], 'Gin files, or names of those in experiments/recipes.')
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "Such as 'msg.config.MSGConfig.ensemble_size=64'.")
_NUM_EVALUATORS = flags.DEFINE_integer(
    'num_evaluators', 1, 'Evaluator nodes of the program.')


def _goal() -> Optional[Tuple[float, float]]:
  if _DATASET_GOAL.value is None:
    return None
  try:
    x, y = map(float, _DATASET_GOAL.value)
  except ValueError as e:
    raise ValueError(
        f'--dataset_goal={",".join(_DATASET_GOAL.value)}: it must be two '
        'numbers, such as 12,8.') from e
  return x, y


def make_experiment() -> experiment_config.ExperimentConfig:
  """Makes the experiment that the flags describe; nothing is started.

  Raises:
    ValueError: naming the flag or binding, if settings contradict each other or
      make no sense.
    FileNotFoundError: if the dataset is not there.
  """
  algorithms.parse_gin(_GIN_CONFIGS.value, _GIN_BINDINGS.value)
  return settings.make_experiment(
      algorithm=_ALGORITHM.value,
      task_class=_TASK_CLASS.value,
      task_name=_TASK_NAME.value,
      root_dir=_ROOT_DIR.value or settings.default_root_dir(
          _TASK_NAME.value, _ALGORITHM.value, _SEED.value),
      seed=_SEED.value,
      num_steps=_NUM_STEPS.value,
      eval_every_steps=_EVAL_EVERY_STEPS.value,
      episodes_per_eval=_EPISODES_PER_EVAL.value,
      batch_size=_BATCH_SIZE.value,
      num_sgd_steps_per_step=_NUM_SGD_STEPS_PER_STEP.value,
      dataset=_DATASET.value,
      dataset_goal=_goal(),
      data_options=loading.DataOptions(
          reward_transform=_REWARD_TRANSFORM.value,
          split=_SPLIT.value,
          num_episodes=_NUM_EPISODES.value,
          top_fraction=_TOP_FRACTION.value,
          n_step=_N_STEP.value),
      normalize_observations=_NORMALIZE_OBSERVATIONS.value,
      data_mode=_DATA_MODE.value,
      shuffle_buffer=_SHUFFLE_BUFFER.value,
      num_evaluators=_NUM_EVALUATORS.value)
