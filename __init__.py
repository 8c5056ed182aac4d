"""MSG: offline RL with ensembles of independent Q-functions, on Acme."""

# Restores the JAX names that Acme 0.4.0 uses; must precede any `import acme`.
from . import compat as _compat  # noqa: F401

__version__ = '0.3.0'
