"""One builder for each variant of MSG."""

from . import msg_builder
from ..agents import msg


class _VariantBuilder(msg_builder.MSGBuilder):
  """An MSG builder that refuses the options of another variant."""

  ensemble_method = ''

  def __init__(self, config: msg.MSGConfig):
    """Creates the builder.

    Args:
      config: the agent's options.

    Raises:
      ValueError: if they are of another variant.
    """
    if config.ensemble_method != self.ensemble_method:
      raise ValueError(
          f'{type(self).__name__} takes a config with ensemble_method='
          f'{self.ensemble_method!r}, not {config.ensemble_method!r}; use '
          'MSGBuilder to let the config choose.')
    super().__init__(config)


class DeepEnsembleBuilder(_VariantBuilder):
  """MSG with critics that share nothing."""
  ensemble_method = 'deep_ensembles'


class TreeEnsembleBuilder(_VariantBuilder):
  """MSG with critics that share the layers near the root of a tree."""
  ensemble_method = 'tree_deep_ensembles'


class MIMOBuilder(_VariantBuilder):
  """MSG with one network that has inputs and outputs for all members."""
  ensemble_method = 'mimo'


class MultiHeadBuilder(_VariantBuilder):
  """MSG with a trunk that members share."""
  ensemble_method = 'multi_head'


class BatchEnsembleBuilder(_VariantBuilder):
  """MSG with members that modulate shared matrices."""
  ensemble_method = 'batch_ensemble'
