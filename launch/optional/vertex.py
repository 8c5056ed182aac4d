"""Runs an experiment on Google's Vertex AI, through Launchpad and XManager.

`python -m acme_msg.launch.optional.vertex` builds one container for each kind
of node and submits them as a job: Launchpad's launch type `vertex_ai`. It needs
XManager (`pip install 'acme_msg[vertex]'`), Docker and a Google Cloud project.
"""

if __name__ == '__main__':
  from .. import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any, Mapping, Optional

from absl import flags
import jax
import launchpad as lp

from .. import command_line
from .. import data_node
from .. import dry_run
from .. import experiment_config
from .. import hosts
from .. import launchpad_program
from ... import __version__

FLAGS = flags.FLAGS

_PACKAGE = pathlib.Path(__file__).resolve().parents[2]
# Where all containers see the buckets of Cloud Storage.
_SHARED = '/gcs/'
# A second port of the first learner's machine.
_COORDINATOR_PORT = 8476
# XManager's names of accelerators, and JAX's optional packages for them.
_ACCELERATORS = {
    **dict.fromkeys(('t4', 'p100', 'v100', 'a100', 'a100_80gib'), 'cuda12'),
    **dict.fromkeys(('tpu_v2', 'tpu_v3'), 'tpu')}


@dataclasses.dataclass(frozen=True)
class Machine:
  """The resources of each machine of a group.

  Attributes:
    cpu: virtual CPUs.
    ram_gb: memory in GiB.
    accelerator: one of XManager's names, such as 'v100' or 'tpu_v3', or None.
    count: number of accelerators.

  Raises:
    ValueError: if a value is not valid.
  """
  cpu: float
  ram_gb: float
  accelerator: Optional[str] = None
  count: int = 0

  def __post_init__(self):
    if self.cpu <= 0 or self.ram_gb <= 0:
      raise ValueError(f'A machine cannot have {self.cpu} CPUs and '
                       f'{self.ram_gb} GiB of memory.')
    if self.accelerator is None:
      return
    if self.accelerator not in _ACCELERATORS:
      raise ValueError(f'accelerator={self.accelerator!r} is not one of '
                       f'{sorted(_ACCELERATORS)}.')
    if self.count < 1:
      raise ValueError(f'accelerator={self.accelerator!r} needs a count of at '
                       f'least 1, not {self.count}.')

  @property
  def jax_extra(self) -> Optional[str]:
    """JAX's optional package for the accelerator."""
    return _ACCELERATORS.get(self.accelerator)

  def requirements(self) -> Any:
    """Returns XManager's `JobRequirements`."""
    from xmanager import xm  # Optional.
    wanted = dict(cpu=self.cpu, ram=self.ram_gb * xm.GiB)
    if self.accelerator:
      wanted[self.accelerator] = self.count
    return xm.JobRequirements(**wanted)


def parse_accelerator(text: str) -> Mapping[str, Any]:
  """Returns the last two fields of a `Machine` from text such as 'v100=4'."""
  if not text:
    return {}
  name, _, count = text.partition('=')
  if not count.isdigit():
    raise ValueError(f'--learner_accelerator={text!r} must be NAME=COUNT, such '
                     'as v100=4 or tpu_v3=8.')
  return dict(accelerator=name.lower(), count=int(count))


def _check_installed() -> None:
  if importlib.util.find_spec('xmanager') is None:
    raise ValueError(
        "Vertex AI needs XManager: `pip install 'acme_msg[vertex]'`.")


def write_requirements(source: str, target: str,
                        jax_extra: Optional[str]) -> None:
  """Writes a pip requirements file for a container, without hashes.

  The lock has no hashes of JAX's packages for accelerators, and pip demands
  hashes for all packages or for none.

  Args:
    source: a lock, or another requirements file.
    target: the file to write.
    jax_extra: JAX's optional package to add, or None.
  """
  with open(source) as f:
    lines = f.read().replace('\\\n', ' ').splitlines()
  packages = [line.split(' --hash')[0].rstrip() for line in lines]
  if jax_extra:
    packages.append(f'jax[{jax_extra}]=={jax.__version__}')
  with open(target, 'w') as f:
    f.write('\n'.join(packages) + '\n')


def copy_code(target: str, own_code: Optional[str]) -> None:
  """Copies this package and the user's code into a folder to import from.

  Args:
    target: the folder.
    own_code: a folder of modules, or None.
  """
  if own_code:
    shutil.copytree(own_code, target, dirs_exist_ok=True)
  modules = [path for path in _PACKAGE.glob('*.py') if path.name != 'setup.py']
  rooms = [path.parent for path in _PACKAGE.glob('*/__init__.py')]
  package = os.path.join(target, 'acme_msg')
  os.makedirs(package)
  for module in modules:
    shutil.copy(module, package)
  for room in rooms:
    shutil.copytree(room, os.path.join(package, room.name),
                    ignore=shutil.ignore_patterns('__pycache__'))


def make_resources(machines: Mapping[str, Machine], requirements: str,
                   own_code: Optional[str], folder: str) -> Mapping[str, Any]:
  """Returns Launchpad's `DockerConfig` of each group.

  Args:
    machines: the machine of each group.
    requirements: a pip requirements file with all packages but this one.
    own_code: a folder of the user's modules, or None.
    folder: an empty folder, which must exist until the launch is over; the
      containers' contents are written there.

  Raises:
    ValueError: if XManager is missing.
    FileNotFoundError: if a file is missing.
  """
  _check_installed()
  from launchpad.nodes.python import xm_docker  # Optional.
  code = os.path.join(folder, 'code')
  copy_code(code, own_code)
  resources = {}
  for group, machine in machines.items():
    packages = os.path.join(
        folder, f'requirements-{machine.jax_extra or "cpu"}.txt')
    write_requirements(requirements, packages, machine.jax_extra)
    resources[group] = xm_docker.DockerConfig(
        code_directory=code, docker_requirements=packages,
        hw_requirements=machine.requirements())
  return resources


def _join(num_hosts: int, index: int, unused_data: lp.Address,
          learner: lp.Address) -> hosts.Hosts:
  first = learner.resolve().rpartition(':')[0]
  return hosts.join(f'{first}:{_COORDINATOR_PORT}', num_hosts, index)


def own_host() -> str:
  """Returns the name that Vertex AI gives this machine among the others."""
  spec = json.loads(os.environ['CLUSTER_SPEC'])
  task = spec['task']
  return spec['cluster'][task['type']][task['index']].rpartition(':')[0]


class DataNode(data_node.DataNode):
  """The data node, which knows its machine's name."""

  def __init__(self, dataset_factory: Any, num_readers: int):
    super().__init__(dataset_factory, num_readers, host=own_host())


def make_program(experiment: experiment_config.ExperimentConfig) -> lp.Program:
  """Returns the experiment's program as it runs on Vertex AI.

  Raises:
    ValueError: if the run's directory is not in a bucket, the only storage that
      the machines share.
  """
  if not experiment.root_dir.startswith(_SHARED):
    raise ValueError(
        f'root_dir={experiment.root_dir} is lost with its machine: put it in a '
        f'bucket of Cloud Storage, which is {_SHARED}BUCKET in the containers.')
  return launchpad_program.make_program(
      experiment, functools.partial(_join, experiment.num_learner_hosts),
      DataNode, public_groups=['data', 'learner'])


def launch(experiment: experiment_config.ExperimentConfig,
           machines: Mapping[str, Machine], requirements: str,
           own_code: Optional[str] = None) -> None:
  """Submits an experiment to Vertex AI, and returns once it is submitted.

  Args:
    experiment: what to run. The container must find its dataset, too.
    machines: the machine of each of the groups data, learner and evaluator.
    requirements: see `make_resources`.
    own_code: see `make_resources`.

  Raises:
    ValueError: if XManager is missing, or `root_dir` is not in a bucket.
    FileNotFoundError: if the requirements are missing.
  """
  program = make_program(experiment)
  with tempfile.TemporaryDirectory() as folder:
    lp.launch(program, launch_type='vertex_ai', xm_resources=make_resources(
        machines, requirements, own_code, folder))


def _plan(experiment: experiment_config.ExperimentConfig,
          machines: Mapping[str, Machine]) -> str:
  """Returns what `launch` would submit."""
  nodes = []
  for group, members in make_program(experiment).groups.items():
    machine = machines[group]
    where = (f'a machine of Vertex AI, {machine.cpu:g} CPUs, '
             f'{machine.ram_gb:g} GiB')
    devices = (f'{machine.count} x {machine.accelerator}'
               if machine.accelerator else 'CPU')
    nodes += [dry_run.Node(
        f'{group}/{index}', where, devices,
        '' if group == 'evaluator' else 'that of its replica in CLUSTER_SPEC')
              for index in range(len(members))]
  try:
    _check_installed()
    notes = [f'{group}: {machine.requirements()}'
             for group, machine in machines.items()]
  except ValueError as e:
    notes = [f'Before it can be launched: {e}']
  return dry_run.describe(experiment, nodes, notes)


def main(experiment: experiment_config.ExperimentConfig) -> None:
  """Launches the experiment as the flags say."""
  experiment = dataclasses.replace(
      experiment, num_learner_hosts=FLAGS.num_learner_hosts)
  machines = {
      'data': Machine(FLAGS.data_cpu, FLAGS.data_ram_gb),
      'learner': Machine(
          FLAGS.learner_cpu, FLAGS.learner_ram_gb,
          **parse_accelerator(FLAGS.learner_accelerator)),
      'evaluator': Machine(FLAGS.evaluator_cpu, FLAGS.evaluator_ram_gb)}
  requirements = FLAGS.docker_requirements
  if not os.path.isfile(requirements):
    raise FileNotFoundError(
        f'--docker_requirements={requirements}: there is no such file. An '
        'installed package has no lock: name a copy of the file '
        f'requirements.lock from the repository, version {__version__}.')
  if FLAGS.dry_run:
    print(_plan(experiment, machines))
  else:
    launch(experiment, machines, requirements, FLAGS.own_code)


def command() -> None:
  """Runs the command line."""
  flags.DEFINE_integer('num_learner_hosts', 1, 'Machines of the learner.')
  flags.DEFINE_string(
      'learner_accelerator', '',
      'Accelerators of each learner machine, such as v100=4 or tpu_v3=8; none '
      'by default.')
  for group, cpu, ram in (
      ('data', 4, 16), ('learner', 8, 30), ('evaluator', 4, 16)):
    flags.DEFINE_float(f'{group}_cpu', cpu, f'CPUs of each {group} machine.')
    flags.DEFINE_float(
        f'{group}_ram_gb', ram, f'Memory of each {group} machine in GiB.')
  flags.DEFINE_string(
      'docker_requirements', str(_PACKAGE / 'requirements.lock'),
      'The pip requirements file of the containers.')
  flags.DEFINE_string(
      'own_code', None, 'A folder of modules that the experiment imports.')
  command_line.run(main)


if __name__ == '__main__':
  # Under its own name, so that the nodes' processes find it, too.
  from . import vertex
  vertex.command()
