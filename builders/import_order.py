"""Makes the processes of a Launchpad program import `acme_msg` before Acme.

With JAX 0.6.2, Acme 0.4.0 can be imported only after `acme_msg`, which restores
the JAX names that Acme uses (`compat`). Each process of a Launchpad program
starts by unpickling its node, and the nodes of Acme's layouts import Acme.
"""

import functools
from typing import Any, Callable

import launchpad as lp


def import_acme_msg_first(program: lp.Program) -> lp.Program:
  """Makes each process of a program import `acme_msg` first.

  The nodes of the program, such as that of an Acme layout, are changed in
  place; the same program is returned.
  """
  for nodes in program.groups.values():
    for node in nodes:
      # Pickle imports the module of `_run` before it loads the argument.
      node._partial_function = functools.partial(_run, node._partial_function)
  return program


def _run(function: Callable[[], Any]) -> Any:
  return function()
