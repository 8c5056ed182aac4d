"""Installs the repository's root as the package `acme_msg`.

The ranges say what may work together; requirements.lock says what was tested.
"""

import pathlib
import re

import setuptools
from setuptools.command import build_py

_ROOT = pathlib.Path(__file__).resolve().parent
# Read as text: importing acme_msg needs JAX.
_VERSION, = re.findall(
    r"^__version__ = '(.+)'$", (_ROOT / '__init__.py').read_text(), re.M)
_ROOMS = setuptools.find_packages(exclude=['tests', 'tests.*'])

# All that `networks` and the mathematics of `agents` need, on every Python.
_MATHEMATICS = [
    'chex>=0.1.90',
    'dm-haiku>=0.0.17',
    'jax>=0.6.2',
    'jaxlib>=0.6.2',
    'numpy>=1.26',
    'optax>=0.2.8',
]
# Acme 0.4.0 brings Launchpad and that TensorFlow 2.8, which end at Python 3.10.
_ON_PYTHON_310 = '; python_version < "3.11"'
# What the other rooms need.
_STACK = [
    'absl-py',
    'dm-acme==0.4.0',
    'dm-control',
    'dm-env',
    'dm-launchpad==0.5.0',
    'dm-reverb==0.7.3',
    'dm-sonnet',
    'gin-config',
    'grpcio',
    'gym==0.23.1',
    'gymnasium>=0.29.1,<1',
    'h5py',
    'matplotlib',
    'minari>=0.4.3,<0.5',
    'mujoco',
    'numpy<2',
    'orbax-checkpoint>=0.11.39',
    'portpicker',
    'protobuf<3.21',
    'psutil',
    'rich',
    'rlax>=0.1.7',
    'rlds>=0.1.8',
    'setuptools<81',  # For pkg_resources, which tensorboard 2.8 imports.
    'tensorboard',
    'tensorflow>=2.8.4,<2.9',
    'tensorflow-datasets>=4.8.3,<4.9',
    'tensorflow-probability>=0.16,<0.17',
    'tqdm',
    'trfl',
]


class BuildWithoutSetup(build_py.build_py):
  """Leaves `setup.py` out: it lies in the package's folder, not in it."""

  def find_package_modules(self, package, package_dir):
    modules = super().find_package_modules(package, package_dir)
    return [m for m in modules if (m[0], m[1]) != ('acme_msg', 'setup')]


setuptools.setup(
    name='acme_msg',
    version=_VERSION,
    description='MSG, offline RL with independent Q-ensembles, on Acme.',
    long_description=(_ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    author='The acme_msg authors',
    url='https://arxiv.org/abs/2205.13703',
    license='Apache-2.0',
    python_requires='>=3.10',
    install_requires=_MATHEMATICS + [
        requirement + _ON_PYTHON_310 for requirement in _STACK],
    extras_require={
        'cuda12': ['jax[cuda12]>=0.6.2'],
        'tpu': ['jax[tpu]>=0.6.2'],
        # Without d4rl==1.1 itself, whose own requirements bring another
        # mujoco_py: `pip install --no-deps d4rl==1.1` adds it.
        'd4rl': [
            requirement + _ON_PYTHON_310 for requirement in (
                'cython==0.29.37', 'fasteners', 'free-mujoco-py==2.1.6',
                'imageio<3')],
        # Launchpad's launch type for Vertex AI. XManager 0.4 on needs a newer
        # protobuf than TensorFlow 2.8 has.
        'vertex': ['xmanager>=0.2,<0.4' + _ON_PYTHON_310],
        'dev': ['mypy', 'pytest', 'pytest-xdist', 'ruff', 'scipy'],
    },
    package_dir={'acme_msg': '.'},
    packages=['acme_msg'] + [f'acme_msg.{room}' for room in _ROOMS],
    package_data={
        'acme_msg': ['py.typed'],
        **{f'acme_msg.{room}': ['*.md'] for room in _ROOMS},
        'acme_msg.experiments': ['*.md', 'recipes/*.gin']},
    cmdclass={'build_py': BuildWithoutSetup},
)
