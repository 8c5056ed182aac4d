"""Installs the repository's root as the package `acme_msg`."""

import setuptools
from setuptools.command import build_py

_ROOMS = setuptools.find_packages(exclude=['tests', 'tests.*'])


class BuildWithoutSetup(build_py.build_py):
  """Leaves `setup.py` out: it lies in the package's folder, not in it."""

  def find_package_modules(self, package, package_dir):
    modules = super().find_package_modules(package, package_dir)
    return [m for m in modules if (m[0], m[1]) != ('acme_msg', 'setup')]


setuptools.setup(
    name='acme_msg',
    version='0.1.0',
    description='MSG, offline RL with independent Q-ensembles, on Acme.',
    python_requires='>=3.10',
    package_dir={'acme_msg': '.'},
    packages=['acme_msg'] + [f'acme_msg.{room}' for room in _ROOMS],
    package_data={'acme_msg.experiments': ['recipes/*.gin']},
    cmdclass={'build_py': BuildWithoutSetup},
)
