"""The networks of all variants in NumPy, with densities and contrastive loss.

Shapes: `N` members, `b` rows, `O` observation, `A` action, `F` features. Each
critic maps `params`, observation `[N, b, O]` and action `[N, b, A]` to values
`[N, b]` and a list of features `[b, F]`, one per member or one if they are
joint; None if the variant has no features for SASS.
"""

import jax
import numpy as np
from scipy import special


def linear(params, x):
  """A layer without activation."""
  return x @ params['w'] + params['b']


def trunk(params, x, name='critic_trunk'):
  """The hidden ReLU layers of an MLP."""
  i = 0
  while f'{name}/~/linear_{i}' in params:
    x = np.maximum(linear(params[f'{name}/~/linear_{i}'], x), 0)
    i += 1
  assert i
  return x


def deep(params, observation, action):
  """N separate MLPs (docs/msg.md 4.2)."""
  values, features = [], []
  for i, rows in enumerate(np.concatenate([observation, action], axis=-1)):
    member = jax.tree.map(lambda p: p[i], params)
    features.append(trunk(member, rows))
    values.append(linear(member['q'], features[-1])[:, 0])
  return np.stack(values), features


def batch_ensemble(params, observation, action):
  """N rank-one modulations of shared matrices (docs/msg.md 4.6)."""
  values, features = [], []
  for i, x in enumerate(np.concatenate([observation, action], axis=-1)):
    def layer(p, x):
      return (x * p['alpha'][i]) @ p['w'] * p['gamma'][i] + p['b'][i]
    features.append(np.maximum(layer(params['linear_0'], x), 0))
    values.append(layer(params['q'], features[-1])[:, 0])
  return np.stack(values), features


def mimo(params, observation, action):
  """One MLP with N input blocks and N outputs (docs/msg.md 4.4)."""
  x = np.concatenate([*observation, *action], axis=-1)
  return linear(params['q'], trunk(params, x)).T, None


def multi_head(params, observation, action):
  """One MLP with N outputs (docs/msg.md 4.5)."""
  hidden = trunk(
      params, np.concatenate([observation[0], action[0]], axis=-1))
  return linear(params['q'], hidden).T, [hidden]


def tree(params, observation, action):
  """Member i uses node i // (N / nodes) of each level (docs/msg.md 4.3)."""
  levels, leaves = params['levels'], params['leaves']
  num_members = len(leaves['w'])
  values, hidden = [], []
  for i in range(num_members):
    x = np.concatenate([observation[i], action[i]], axis=-1)
    for layer in levels:
      node = i * len(layer['w']) // num_members
      x = np.maximum(x @ layer['w'][node] + layer['b'][node], 0)
    hidden.append(x)
    values.append((x @ leaves['w'][i] + leaves['b'][i])[:, 0])
  return np.stack(values), [np.concatenate(hidden, axis=-1)]


CRITICS = {
    'deep_ensembles': deep, 'batch_ensemble': batch_ensemble, 'mimo': mimo,
    'multi_head': multi_head, 'tree_deep_ensembles': tree}


def log_prob(loc, scale, action):
  """Log-density of the squashed Gaussian, `[...]` (docs/msg.md 5.1)."""
  assert np.all(np.abs(action) < 0.999), 'Tails are tested elsewhere.'
  z = (np.arctanh(action) - loc) / scale
  return np.sum(
      -0.5 * z ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
      - np.log(1 - action ** 2), axis=-1)


def nt_xent(left, right, temperature):
  """Cross entropy of each row's partner among all other rows, and accuracy."""
  rows = np.concatenate([left, right])
  logits = rows @ rows.T / temperature
  np.fill_diagonal(logits, -1e10)
  partner = np.roll(np.arange(len(rows)), len(left))
  chosen = logits[np.arange(len(rows)), partner]
  return (np.mean(special.logsumexp(logits, axis=1) - chosen),
          np.mean(np.argmax(logits, axis=1) == partner))
