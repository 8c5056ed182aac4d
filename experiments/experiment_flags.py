"""The flags that describe an experiment, and the experiment they describe."""

from absl import flags

from . import algorithms
from . import gin_options
from . import settings
from . import tasks
from ..datasets import data_options
from ..datasets import ogbench
from ..datasets import rewards
from ..launch import experiment_config

_TASK_CLASS = flags.DEFINE_enum(
    'task_class', 'pointmaze', tasks.TASK_CLASSES,
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
    "X,Y of the goal that defines the rewards of OGBench's mazes, whose files "
    'have none.')

_REWARD_TRANSFORM = flags.DEFINE_enum(
    'reward_transform', 'auto', rewards.NAMES,
    'How rewards are changed before the agent sees them.')
_SPLIT = flags.DEFINE_string(
    'split', None, "A part of the dataset's episodes, such as '[:80%]'.")
_NUM_EPISODES = flags.DEFINE_integer(
    'num_episodes', None, 'Use only the first so many episodes.')
_TOP_FRACTION = flags.DEFINE_float(
    'top_fraction', None,
    'Use only this fraction of the episodes, those of the highest returns.')
_N_STEP = flags.DEFINE_integer('n_step', 1, 'Steps that a transition spans.')
_NORMALIZE_OBSERVATIONS = flags.DEFINE_bool(
    'normalize_observations', False,
    'Let the agent see observations with mean 0 and standard deviation 1 over '
    'the dataset.')
_DATA_MODE = flags.DEFINE_enum(
    'data_mode', 'resident', ['resident', 'stream'],
    "'resident': the learner holds the whole dataset; 'stream': for datasets "
    'of any size.')
_SHUFFLE_BUFFER = flags.DEFINE_integer(
    'shuffle_buffer', experiment_config.StreamConfig.shuffle_buffer,
    'Number of streamed transitions that are shuffled together; the learner '
    'holds about three times as many.')

_ALGORITHM = flags.DEFINE_enum(
    'algorithm', 'msg', list(algorithms.OPTIONS), 'The agent.')
_GIN_CONFIGS = flags.DEFINE_multi_string(
    'gin_configs', [], 'Gin files, or names of those in experiments/recipes.')
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "Such as 'msg.config.MSGConfig.ensemble_size=64'.")
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', None,
    'Transitions per learner step: num_sgd_steps_per_step times those per '
    "gradient step. By default the latter is the agent's option batch_size.")
_NUM_SGD_STEPS_PER_STEP = flags.DEFINE_integer(
    'num_sgd_steps_per_step', None,
    "Gradient steps per learner step; by default the agent's option.")

_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', None,
    'Learner steps of the whole run; by default 1,000,000, or the next '
    'multiple of eval_every_steps.')
_EVAL_EVERY_STEPS = flags.DEFINE_integer(
    'eval_every_steps', None,
    'Learner steps between evaluations; divides num_steps. By default 10,000 '
    'if that divides num_steps, else its least divisor that gives at most 20 '
    'evaluations.')
_EPISODES_PER_EVAL = flags.DEFINE_integer(
    'episodes_per_eval', 10, 'Episodes of each evaluation.')
_SEED = flags.DEFINE_integer(
    'seed', 1, 'Seed of the learner, the actors and the environments.')

_ROOT_DIR = flags.DEFINE_string(
    'root_dir', None,
    'Directory of the run; runs/TASK-ALGORITHM-seedSEED by default. A run that '
    'exists there is resumed; nothing in it is ever deleted.')
_NUM_EVALUATORS = flags.DEFINE_integer(
    'num_evaluators', 1, 'Evaluator nodes of the program.')

# Names of the flags above by the title under which `--help` lists them.
GROUPS = {
    'Task': ('task_class', 'task_name', 'dataset', 'dataset_goal'),
    'Data': ('reward_transform', 'split', 'num_episodes', 'top_fraction',
             'n_step', 'normalize_observations', 'data_mode', 'shuffle_buffer'),
    'Agent': ('algorithm', 'gin_configs', 'gin_bindings', 'batch_size',
              'num_sgd_steps_per_step'),
    'Budget': ('num_steps', 'eval_every_steps', 'episodes_per_eval', 'seed'),
    'Output': ('root_dir',),
    'Nodes': ('num_evaluators',),
}


def make_experiment() -> experiment_config.ExperimentConfig:
  """Makes the experiment that the flags describe; nothing is started.

  Raises:
    ValueError: naming the flag or binding, if settings contradict each other or
      are invalid.
    FileNotFoundError: if the dataset does not exist.
  """
  for flag in (_TASK_NAME, _DATASET):
    if flag.value == '':
      raise ValueError(f'--{flag.name} is empty; give a name or remove it.')
  if _DATASET_GOAL.value is not None and _DATASET.value is None:
    raise ValueError(
        f'--dataset_goal={",".join(_DATASET_GOAL.value)} has no effect without '
        '--dataset; remove it.')
  try:
    stream = experiment_config.StreamConfig(_SHUFFLE_BUFFER.value)
    options = data_options.DataOptions(
        _REWARD_TRANSFORM.value, _SPLIT.value, _NUM_EPISODES.value,
        _TOP_FRACTION.value, _N_STEP.value)
  except ValueError as e:  # It begins with the field, which is the flag's name.
    raise ValueError(f'--{e}') from e
  gin_options.parse(_GIN_CONFIGS.value, _GIN_BINDINGS.value)
  return settings.make_experiment(
      settings.AgentConfig(
          _ALGORITHM.value, _BATCH_SIZE.value, _NUM_SGD_STEPS_PER_STEP.value),
      tasks.TaskConfig(
          _TASK_CLASS.value, _TASK_NAME.value, _DATASET.value,
          ogbench.parse_goal(_DATASET_GOAL.value)),
      settings.Budget(
          _NUM_STEPS.value, _EVAL_EVERY_STEPS.value, _EPISODES_PER_EVAL.value),
      settings.DataConfig(
          options,
          _NORMALIZE_OBSERVATIONS.value,
          stream if _DATA_MODE.value == 'stream' else None),
      seed=_SEED.value,
      root_dir=_ROOT_DIR.value,
      num_evaluators=_NUM_EVALUATORS.value)
