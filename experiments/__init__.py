"""Experiments: the command line, recipes, reports and benchmarks."""

import os
import warnings

# TensorFlow serves Reverb and TensorBoard here: that it finds no GPU, and what
# its release thinks of newer Python packages, is of no use to anybody. The
# variables are for the processes that are started from here.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('PYTHONWARNINGS', 'ignore::DeprecationWarning')
warnings.filterwarnings('ignore', category=DeprecationWarning)
