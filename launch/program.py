"""The Launchpad program: a data node, a learner node, evaluator nodes."""

import launchpad as lp

from . import data as data_lib
from . import evaluator as evaluator_lib
from . import experiment as experiment_lib
from . import learner as learner_lib


def make_program(experiment: experiment_lib.ExperimentConfig) -> lp.Program:
  """Returns the experiment as a program of the groups data, learner, evaluator.

  Every process of a program first imports TensorFlow and JAX, so they are kept
  few: counter, checkpoints and the limit of steps live in the learner node.

  Args:
    experiment: what to run.
  """

  def build_data():
    return lp.CourierNode(
        data_lib.DataNode, experiment.dataset_factory, [learner_lib.READER])

  def build_learner(data: lp.CourierHandle):
    return lp.CourierNode(learner_lib.LearnerNode, experiment, data)

  def build_evaluator(learner: lp.CourierHandle, index: int):
    return lp.PyClassNode(
        evaluator_lib.EvaluatorNode, experiment, learner, index)

  program = lp.Program('acme_msg')

  with program.group('data'):
    data = program.add_node(build_data())

  with program.group('learner'):
    learner = program.add_node(build_learner(data))

  with program.group('evaluator'):
    for index in range(experiment.num_evaluators):
      program.add_node(build_evaluator(learner, index))

  return program
