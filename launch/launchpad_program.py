"""The Launchpad program: a data node, learner nodes, evaluator nodes."""

import functools
from typing import Any, Callable, Collection, Optional

import launchpad as lp
import portpicker

from . import calls
from . import evaluator_node
from . import experiment_config
from . import hosts
from . import learner_node

# Joins the learner's hosts from the process of one of them. The arguments are
# the host's index and the addresses of the data node and of the first learner.
Join = Callable[[int, lp.Address, lp.Address], hosts.Hosts]


def _join_at(coordinator_address: str, num_hosts: int, index: int,
             *unused_addresses: lp.Address) -> hosts.Hosts:
  return hosts.join(coordinator_address, num_hosts, index)


def make_data_node(*args, **kwargs) -> Any:
  """Makes the data node, in its process.

  The launcher does not import Reverb and TensorFlow, which takes seconds.
  """
  from . import data_node
  return data_node.DataNode(*args, **kwargs)


def make_program(
    experiment: experiment_config.ExperimentConfig,
    join: Optional[Join] = None,
    make_data: Callable[..., Any] = make_data_node,
    first_learner_only: bool = False,
    public_groups: Collection[str] = (),
    secret: Optional[str] = None) -> lp.Program:
  """Returns the experiment as a program of the groups data, learner, evaluator.

  Args:
    experiment: what to run.
    join: joins the learner's hosts; by default at a free port of this machine.
    make_data: makes the data node from the dataset's factory and the number of
      learner hosts.
    first_learner_only: leaves out the other hosts, which have their own
      programs.
    public_groups: the groups that nodes of other machines call.
    secret: what each call between nodes must carry; by default a new one.
  """
  secret = secret or calls.make_secret()
  num_hosts = experiment.num_learner_hosts
  if join is None:
    port = portpicker.pick_unused_port()
    join = functools.partial(_join_at, f'localhost:{port}', num_hosts)

  def build_data():
    return calls.Node(
        make_data, experiment.dataset_factory, num_hosts,
        secret=secret, is_public='data' in public_groups)

  def build_learner(data: lp.CourierHandle):
    return calls.Node(
        learner_node.LearnerNode, experiment, data,
        secret=secret, is_public='learner' in public_groups)

  def build_evaluator(learner: lp.CourierHandle, index: int):
    return lp.PyClassNode(
        evaluator_node.EvaluatorNode, experiment, learner, index)

  program = lp.Program('acme_msg')

  with program.group('data'):
    data_node = build_data()
    data = program.add_node(data_node)

  with program.group('learner'):
    nodes = [build_learner(data)
             for _ in range(1 if first_learner_only else num_hosts)]
    if num_hosts > 1:
      for index, node in enumerate(nodes):
        node.configure(experiment, data, functools.partial(
            join, index, data_node.courier_address, nodes[0].courier_address))
    # The evaluators call the first one.
    learner, *_ = [program.add_node(node) for node in nodes]

  with program.group('evaluator'):
    for index in range(experiment.num_evaluators):
      program.add_node(build_evaluator(learner, index))

  return program
