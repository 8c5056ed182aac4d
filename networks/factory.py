"""Makes policies and critic ensembles by name."""

import dataclasses
from typing import Any, Dict, NamedTuple, Sequence

from . import batch_ensemble
from . import critic
from . import deep_ensemble
from . import initializers
from . import mimo
from . import policy
from . import tree_ensemble

ENSEMBLE_METHODS = (
    'deep_ensembles', 'tree_deep_ensembles', 'mimo', 'multi_head',
    'batch_ensemble')


class MSGNetworks(NamedTuple):
  """The networks of an MSG agent.

  Attributes:
    policy: the tanh-Gaussian policy.
    critic: the N critics.
  """
  policy: policy.PolicyNetwork
  critic: critic.CriticEnsemble


def make_critic(
    observation_size: int,
    action_size: int,
    *,
    ensemble_method: str = 'deep_ensembles',
    ensemble_size: int = 16,
    hidden_sizes: Sequence[int] = (256, 256),
    use_double_q: bool = False,
    networks_init_type: str = 'glorot_also_dist',
    critic_init_scale: float = 1.0,
    critic_random_init: bool = False,
    mimo_using_obs_tile: bool = False,
    mimo_using_act_tile: bool = False,
    tree_branching: int = 4,
    tree_depth: int = 3,
    tree_width: int = 256,
    batch_split: bool = True,
) -> critic.CriticEnsemble:
  """Makes the critics of a variant (docs/msg.md 4).

  Args:
    observation_size: O.
    action_size: A.
    ensemble_method: one of `ENSEMBLE_METHODS`; 'multi_head' is 'mimo' without
      tiles.
    ensemble_size: N.
    hidden_sizes: widths of the hidden layers; trees use `tree_width`.
    use_double_q: whether each member has two independent networks.
    networks_init_type: see `initializers.make`.
    critic_init_scale: multiplies the variance of the initial weights.
    critic_random_init: whether each deep-ensemble member draws its initialiser.
    mimo_using_obs_tile: see `mimo.make_mimo`.
    mimo_using_act_tile: see `mimo.make_mimo`.
    tree_branching: see `tree_ensemble.make_tree_ensemble`.
    tree_depth: see `tree_ensemble.make_tree_ensemble`.
    tree_width: see `tree_ensemble.make_tree_ensemble`.
    batch_split: see `batch_ensemble.make_batch_ensemble`.

  Returns:
    The ensemble.

  Raises:
    ValueError: if there is no such method, or if a tree has another number of
      leaves than `ensemble_size`.
  """
  init = initializers.make(networks_init_type, critic_init_scale)
  sizes = (observation_size, action_size)
  mlp: Dict[str, Any] = dict(
      num_members=ensemble_size, hidden_sizes=tuple(hidden_sizes), init=init)
  if ensemble_method == 'deep_ensembles':
    single = deep_ensemble.make_deep_ensemble(
        *sizes, random_init=critic_random_init, init_scale=critic_init_scale,
        **mlp)
  elif ensemble_method in ('mimo', 'multi_head'):
    single = mimo.make_mimo(
        *sizes, tile_observations=mimo_using_obs_tile,
        tile_actions=mimo_using_act_tile, **mlp)
  elif ensemble_method == 'tree_deep_ensembles':
    if tree_branching ** tree_depth != ensemble_size:
      raise ValueError(
          f'A tree with tree_branching={tree_branching} and tree_depth='
          f'{tree_depth} has {tree_branching ** tree_depth} leaves, not '
          f'ensemble_size={ensemble_size}.')
    single = tree_ensemble.make_tree_ensemble(
        *sizes, branching=tree_branching, depth=tree_depth, width=tree_width,
        init=init)
  elif ensemble_method == 'batch_ensemble':
    single = batch_ensemble.make_batch_ensemble(
        *sizes, batch_split=batch_split, **mlp)
  else:
    raise ValueError(f'ensemble_method={ensemble_method!r} is not one of '
                     f'{ENSEMBLE_METHODS}.')
  made_with: Dict[str, Any] = dict(
      ensemble_method=ensemble_method, ensemble_size=ensemble_size,
      use_double_q=use_double_q, networks_init_type=networks_init_type,
      critic_init_scale=critic_init_scale)
  if ensemble_method == 'tree_deep_ensembles':
    made_with.update(tree_branching=tree_branching, tree_depth=tree_depth,
                     tree_width=tree_width)
  else:
    made_with['critic_network_hidden_sizes'] = tuple(hidden_sizes)
  if ensemble_method == 'mimo':
    made_with.update(mimo_using_obs_tile=mimo_using_obs_tile,
                     mimo_using_act_tile=mimo_using_act_tile)
  if ensemble_method == 'batch_ensemble':
    made_with['batch_split'] = batch_split
  return dataclasses.replace(
      critic.with_heads(single, 2 if use_double_q else 1), made_with=made_with)


def make_policy(
    observation_size: int,
    action_size: int,
    hidden_sizes: Sequence[int] = (256, 256),
    networks_init_type: str = 'glorot_also_dist',
    min_scale: float = 1e-2,
) -> policy.PolicyNetwork:
  """Makes a policy with named initialisers; see `policy.make_policy`."""
  return policy.make_policy(
      observation_size, action_size, tuple(hidden_sizes),
      initializers.make(networks_init_type), min_scale)
