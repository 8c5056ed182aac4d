"""Options that a combination of others does not read."""

import dataclasses
from typing import Any, Callable, NamedTuple, Sequence
import warnings


class _Unread(NamedTuple):
  """Options that a combination of others does not read.

  Attributes:
    options: their names.
    because: the combination.
    holds: whether a config has this combination.
  """
  options: Sequence[str]
  because: str
  holds: Callable[[Any], bool]


_UNREAD = (
    _Unread(('critic_network_hidden_sizes',),
            "ensemble_method='tree_deep_ensembles', which has tree_width",
            lambda c: c.ensemble_method == 'tree_deep_ensembles'),
    _Unread(('tree_branching', 'tree_depth', 'tree_width'),
            "an ensemble_method that is not 'tree_deep_ensembles'",
            lambda c: c.ensemble_method != 'tree_deep_ensembles'),
    _Unread(('batch_split',), "an ensemble_method that is not 'batch_ensemble'",
            lambda c: c.ensemble_method != 'batch_ensemble'),
    _Unread(('beta',), "td_target_method='shared_min' or 'shared_mean'",
            lambda c: c.td_target_method in ('shared_min', 'shared_mean')
            and c.evaluation_mode != 'q_filter'),
    _Unread(('tau',), 'use_ema_target_critic_params=False',
            lambda c: not c.use_ema_target_critic_params),
    _Unread(('num_bc_iters', 'policy_lr', 'alpha_lr',
             'entropy_coefficient', 'target_entropy'),
            'perform_sarsa_q_eval=True, which trains no policy',
            lambda c: c.perform_sarsa_q_eval),
    _Unread(('alpha_lr',), 'a temperature that does not adapt',
            lambda c: not c.use_entropy_regularization
            or c.entropy_coefficient is not None),
    _Unread(('behavior_regularization_alpha',),
            "behavior_regularization_type='none'",
            lambda c: c.behavior_regularization_type == 'none'),
    _Unread(('num_cql_actions',),
            "a behavior_regularization_type that is not 'cql'",
            lambda c: c.behavior_regularization_type != 'cql'),
    _Unread(('pretrain_temp',),
            'neither use_sass nor num_q_repr_pretrain_iters',
            lambda c: not (c.use_sass or c.num_q_repr_pretrain_iters)),
    _Unread(('num_eval_samples',), "an eval_mode that is not 'q_filter'",
            lambda c: c.evaluation_mode != 'q_filter'),
)


def warn(config: Any) -> None:
  """Warns of options that are set and have no effect.

  They are not refused, because command lines of the reference implementation
  set them, too.
  """
  defaults = {f.name: f.default for f in dataclasses.fields(config)}
  for options, because, holds in _UNREAD:
    for name in options if holds(config) else ():
      if getattr(config, name) != defaults[name]:
        warnings.warn(f'{name}={getattr(config, name)!r} has no effect with '
                      f'{because}.', stacklevel=5)
