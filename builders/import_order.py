"""Programs of Acme 0.4.0, in processes of their own.

With a JAX as new as 0.6.2, Acme 0.4.0 can be imported only after `acme_msg`,
which restores what Acme misses. The processes of a Launchpad program begin by
unpickling their nodes, however, and those of Acme's layouts name Acme first.
"""

import functools
from typing import Any, Callable

import launchpad as lp


def import_acme_msg_first(program: lp.Program) -> lp.Program:
  """Lets the processes of a program import `acme_msg` before anything else.

  Args:
    program: any program, such as those of Acme's layouts; its nodes are changed
      in place.

  Returns:
    The same program.
  """
  for nodes in program.groups.values():
    for node in nodes:
      # Pickle names this function, and so `acme_msg`, before its argument.
      node._partial_function = functools.partial(_run, node._partial_function)
  return program


def _run(function: Callable[[], Any]) -> Any:
  return function()
