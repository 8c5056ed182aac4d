"""Lets the tests here, and the processes they start, import `cloning`."""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, _HERE)
os.environ['PYTHONPATH'] = os.pathsep.join(
    [_HERE, *filter(None, [os.environ.get('PYTHONPATH')])])
