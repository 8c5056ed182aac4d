"""Tests that broken flags, bindings and gin files are refused by name.

Each case is refused with a `ValueError` before anything starts; the message
names the flag or file, what was found and what is allowed.
"""

import os
import re

from absl import flags
from absl.testing import flagsaver
from acme_msg.experiments import experiment_flags
from acme_msg.experiments import gin_options
import pytest

_P = 'msg.config.MSGConfig.'
_INT_LIMIT = 'at most 2,147,483,647'


def _make(*args):
  """Returns the experiment of a command line; absl refuses some itself."""
  with flagsaver.flagsaver():
    try:
      flags.FLAGS(['run', *args])
      return experiment_flags.make_experiment()
    finally:
      flags.FLAGS.unparse_flags()


def _bind(*bindings):
  return [f'--gin_bindings={binding}' for binding in bindings]


_BROKEN = [
    # Counts.
    (['--num_steps=0'], 'num_steps must be a positive integer, not 0'),
    (['--num_steps=-1'], 'num_steps must be a positive integer, not -1'),
    ([f'--num_steps={10**18}'], f'num_steps must be {_INT_LIMIT}, not 1,000'),
    (['--num_steps=2000000', '--num_sgd_steps_per_step=2000'],
     'num_steps=2,000,000 of num_sgd_steps_per_step=2,000.*4,000,000,000'),
    (['--num_steps='], 'flag --num_steps=: invalid literal'),
    (['--eval_every_steps=0'], 'eval_every_steps must be a positive integer'),
    (['--episodes_per_eval=0'], 'episodes_per_eval must be a positive integer'),
    ([f'--episodes_per_eval={10**9}'],
     'episodes_per_eval must be at most 1,000,000, not 1,000,000,000'),
    (['--num_evaluators=0'], 'num_evaluators must be a positive integer'),
    ([f'--num_evaluators={10**6}'], 'num_evaluators must be at most 1,000,'),
    ([f'--seed={2**32}'], 'seed must be in .0, 2..32., not 4294967296'),
    (['--batch_size=-64'], '--batch_size=-64 must be a multiple of'),
    ([f'--batch_size={10**12}'], f'batch_size={10**12} must be.*{_INT_LIMIT}'),
    (['--num_sgd_steps_per_step=0'],
     f'num_sgd_steps_per_step=0 must be an integer of at least 1.*{_INT_LIMIT}'
     ),
    # Data.
    (['--n_step=0'], '^--n_step=0: it must be at least 1'),
    (['--n_step=100000'], 'n_step=100000: .*at most 1,000'),
    (['--num_episodes=0'], 'num_episodes=0: it must be at least 1'),
    (['--top_fraction=nan'], 'top_fraction=nan: it must lie in .0, 1.'),
    (['--split='], "split='': expected a range of episodes, such as"),
    (['--split=[80%:20%]'], r"split='\[80%:20%\]' holds no episode"),
    (['--dataset=x', '--dataset_goal=nan,nan'],
     '--dataset_goal=nan,nan: it must be two finite numbers'),
    (['--dataset=x', '--dataset_goal=1e39,2'],
     '--dataset_goal=1e39,2: it must be two finite numbers'),
    (['--dataset_goal=1,2'], '--dataset_goal=1,2 has no effect without --dat'),
    (['--dataset='], '--dataset is empty'),
    (['--shuffle_buffer=0'], '^--shuffle_buffer must be a positive integer'),
    ([f'--shuffle_buffer={10**12}'], f'shuffle_buffer must be {_INT_LIMIT}'),
    # Names.
    (['--task_name='], '--task_name is empty'),
    (['--task_name=../x'], "no pointmaze task '../x'; the tasks are"),
    (['--task_class=atari'], '--task_class=atari: value should be one of'),
    (['--algorithm=sac'], '--algorithm=sac: value should be one of'),
    (['--root_dir='], 'root_dir is empty'),
    (['--root_dir=a\0b'], r"root_dir='a\\x00b' holds a NUL"),
    # Bindings.
    (_bind(''), "--gin_bindings='' is empty"),
    (_bind('import os'), "import of 'os': gin files are data"),
    (_bind('from os import path as p'), "import of 'os.path': gin files"),
    (_bind('from __gin__ import dynamic_registration'),
     "import of '__gin__.dynamic_registration': gin files are data"),
    (_bind(f'{_P}beta=@os.getpid()'), '@os.getpid refers to code; a value is'),
    (_bind(f'{_P}beta=(1, [@msg.config.MSGConfig])'), 'refers to code'),
    (_bind(f'train/{_P}beta=-8'), "the scope 'train' is not read"),
    (_bind(f'a/b/{_P}beta=-8'), "the scope 'a/b' is not read"),
    (_bind(f'train/{_P[:-1]}:\n  beta=-8\n'), "the scope 'train' is not"),
    (_bind('a=%b', 'b=%a', f'{_P}beta=%a'), 'macro.*refers to itself'),
    (_bind(f'{_P}beta={"(" * 5000}'), r"beta=\(.*\.\.\.': "),
    (_bind(f'{_P}beta="x'), f"--gin_bindings='{_P}beta=\"x': "),
    (_bind(f'{_P}beta=-8;'), 'Expected newline'),
    (_bind(f'{_P}beta=1e999'), 'beta=inf must be a finite number'),
    (_bind(f'{_P}beta=8'), 'beta=8 is positive'),
    (_bind(f'{_P}ensemble_size={10**9}'),
     f'ensemble_size={10**9} must be an integer of at least 1 and at most 65,'),
    (_bind(f'{_P}ensemble_size=65536',
           f'{_P}critic_network_hidden_sizes=(65536, 65536)'), 'need 4,504 TB'),
    (_bind(f'{_P}num_bc_iters={"9" * 5000}'), r"num_bc_iters=9+\.\.\.': "),
    (_bind('%a=1'), 'Unexpected token'),
]


@pytest.mark.parametrize('args, message', _BROKEN, ids=[
    re.sub(r'\W+', '-', ' '.join(args))[:60] for args, _ in _BROKEN])
def test_broken_flags_are_refused(args, message):
  with pytest.raises((ValueError, flags.Error), match=message) as error:
    _make(*args)
  # One line that fits a terminal.
  assert '\n' not in str(error.value) and len(str(error.value)) < 600


_FILES = [
    ('# A comment.\nimport os', "line 2: import of 'os'"),
    (f'{_P}beta = @print', 'line 1: @print refers to code'),
    (f'\n{_P}beat = 1', "line 2: .*'beat'"),
    (f'\n\n{_P}beta = (', 'line 4: EOF'),
    ('include "other.gin"', "line 1: '.*other.gin', line 2: .*import of 'x'"),
    ('include "self.gin"', 'line 1: .*self.gin. includes itself'),
    ('include "loop.gin"', 'includes itself'),
    ('include "nothing.gin"',
     'line 1: there is no file .*nothing.gin.. The recipes are antmaze.gin'),
    ('include "folder"', 'line 1: .* cannot be read: it is not a file'),
    ('include "latin.gin"', 'line 1: .* cannot be read: .*utf-8'),
    ('include "pipe"', 'line 1: .* cannot be read: it is not a file'),
    ('include "huge.gin"', 'line 1: .* more than 1,000,000 bytes'),
    ('include os.path', 'line 1: '),
    ('include "a\\0b"', 'line 1: there is no file'),
    ('  x: \n', 'line [12]: '),
    ('\0', ''),
    ('$', 'line 1: '),
]


@pytest.mark.parametrize('text, message', _FILES)
def test_broken_gin_files_are_refused(tmp_path, text, message):
  for name, other in (
      ('other.gin', '\nimport x'), ('self.gin', 'include "self.gin"'),
      ('loop.gin', 'include "loop2.gin"'), ('loop2.gin', 'include "loop.gin"'),
      ('huge.gin', '#' * 1_000_001)):
    (tmp_path / name).write_text(
        other.replace('include "', f'include "{tmp_path}/'))
  (tmp_path / 'latin.gin').write_bytes(b'# \xff')
  (tmp_path / 'folder').mkdir()
  os.mkfifo(tmp_path / 'pipe')
  path = tmp_path / 'mine.gin'
  path.write_text(text.replace('include "', f'include "{tmp_path}/'))
  with pytest.raises(ValueError, match=message) as error:
    _make(f'--gin_configs={path}')
  assert str(error.value).startswith(f"--gin_configs='{path}'")
  assert '\n' not in str(error.value)


def test_gin_files_of_data_are_read(tmp_path):
  path = tmp_path / 'mine.gin'
  path.write_text(f'''
      # Literals, macros, blocks and files that two others include.
      include 'antmaze_tree.gin'
      include 'antmaze.gin'
      size = 16
      {_P}beta = -2  # The last one counts.
      msg.config.MSGConfig:
        actor_network_hidden_sizes = [%size, 8]
        eval_mode = None
      '''.replace('\n      ', '\n'))
  config = _make(f'--gin_configs={path}').builder.config
  assert config.actor_network_hidden_sizes == (16, 8) and config.beta == -2
  assert config.ensemble_method == 'deep_ensembles'
  gin_options.parse([], [])
