"""The Launchpad program, its nodes, and how it is launched."""

import contextlib
import io
import os
import warnings

# Each process of a program imports these libraries, and each would say again
# what is of no use to anybody here: that TensorFlow, which only serves Reverb
# and TensorBoard, finds no GPU, that Gym has a successor, and what the two
# think of newer Python packages. Gym resets the filters of warnings, so it goes
# first. The variables are for the processes that are started from here; JAX has
# set the first one to '1'.
if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1') == '1':
  os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'
os.environ.setdefault('PYTHONWARNINGS', 'ignore::DeprecationWarning')
with contextlib.redirect_stderr(io.StringIO()):
  import gym as _  # Acme imports it.
warnings.filterwarnings('ignore', category=DeprecationWarning)
