"""One builder for each ensemble of MSG (docs/msg.md 4)."""

from . import msg_builder
from ..agents import msg


class _VariantBuilder(msg_builder.MSGBuilder):
  """An MSG builder that accepts the configs of one ensemble only."""

  ensemble_method = ''

  def __init__(self, config: msg.MSGConfig):
    """Raises ValueError if the config names another ensemble."""
    if config.ensemble_method != self.ensemble_method:
      raise ValueError(
          f'{type(self).__name__} takes a config with ensemble_method='
          f'{self.ensemble_method!r}, not {config.ensemble_method!r}; use '
          'MSGBuilder to let the config choose.')
    super().__init__(config)


class DeepEnsembleBuilder(_VariantBuilder):
  """MSG with independent critics (docs/msg.md 4.2)."""
  ensemble_method = 'deep_ensembles'


class TreeEnsembleBuilder(_VariantBuilder):
  """MSG with critics that share layers in a tree (docs/msg.md 4.3)."""
  ensemble_method = 'tree_deep_ensembles'


class MIMOBuilder(_VariantBuilder):
  """MSG with one multi-input, multi-output network (docs/msg.md 4.4)."""
  ensemble_method = 'mimo'


class MultiHeadBuilder(_VariantBuilder):
  """MSG with a shared trunk and one head per member (docs/msg.md 4.5)."""
  ensemble_method = 'multi_head'


class BatchEnsembleBuilder(_VariantBuilder):
  """MSG with shared matrices and rank-one factors (docs/msg.md 4.6)."""
  ensemble_method = 'batch_ensemble'
