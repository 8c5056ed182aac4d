"""Acting policies against NumPy, and the weights that actors use."""

from acme_msg.agents import feed_forward_actor
from acme_msg.agents.msg import acting
import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import pytest
import tiny

_NUM_ROWS = 7
_NUM_SAMPLES = 5


def _networks_and_params(config):
  """Networks, and disturbed initial parameters of policy and critics."""
  state = tiny.make_state(config)
  rng = np.random.default_rng(1)
  disturb = lambda x: (x + 0.3 * rng.normal(size=x.shape)).astype(np.float32)
  return (tiny.make_networks(config), *jax.tree.map(
      disturb, (state.policy_params, state.critic_params)))


def _observation():
  return tiny.make_data(_NUM_ROWS).observation


def _distribution(policy_params, observation):
  """The policy's location and scale in NumPy (docs/msg.md 5.1)."""
  hidden = numpy_networks.trunk(policy_params, observation, 'policy_trunk')
  raw = numpy_networks.linear(policy_params['scale'], hidden)
  return (numpy_networks.linear(policy_params['loc'], hidden),
          np.log1p(np.exp(raw)) + 0.01)


def test_sample_and_mode():
  config = tiny.make_config()
  networks, params, _ = _networks_and_params(config)
  key = jax.random.PRNGKey(3)
  loc, scale = _distribution(params, _observation())
  noise = jax.random.normal(key, loc.shape)
  for mode, expected in (
      ('sample', np.tanh(loc + scale * noise)), ('mode', np.tanh(loc))):
    assert acting.variable_names(mode) == ('policy',)
    policy = jax.jit(acting.make_policy(networks, mode, config))
    np.testing.assert_allclose(
        policy(params, key, _observation()), expected, atol=1e-5)


@pytest.mark.parametrize('options', [
    dict(use_double_q=True, beta=-3.),
    dict(tiny.MULTI_HEAD, std_ddof=1),
    dict(tiny.MIMO, beta=2., allow_optimism=True),
    dict(tiny.TREE),
], ids=['deep', 'multi_head', 'mimo', 'tree'])
def test_q_filter_takes_the_best_candidate(options):
  config = tiny.make_config(num_eval_samples=_NUM_SAMPLES, **options)
  networks, policy_params, critic_params = _networks_and_params(config)
  assert acting.variable_names('q_filter') == ('policy', 'critic')
  key, observation = jax.random.PRNGKey(4), _observation()
  policy = jax.jit(acting.make_policy(networks, 'q_filter', config))
  actions = policy([policy_params, critic_params], key, observation)

  policy_key, uniform_key = jax.random.split(key)
  loc, scale = _distribution(policy_params, observation)
  shape = (_NUM_SAMPLES,) + loc.shape
  candidates = np.concatenate([
      np.tanh(loc + scale * jax.random.normal(policy_key, shape)),
      jax.random.uniform(uniform_key, shape, minval=-1., maxval=1.)])
  critic = numpy_networks.CRITICS[config.ensemble_method]
  everywhere = lambda x: np.stack([x] * config.ensemble_size)
  scores = []
  for candidate in candidates:
    q = np.min([
        critic(p, everywhere(observation), everywhere(candidate))[0]
        for p in critic_params], axis=0)
    scores.append(np.mean(q, axis=0) + config.beta * np.std(
        q, axis=0, ddof=config.std_ddof))
  best = np.argmax(scores, axis=0)
  # Both sampled and uniform candidates win in some rows.
  assert (best < _NUM_SAMPLES).any() and (best >= _NUM_SAMPLES).any()
  np.testing.assert_allclose(
      actions, candidates[best, np.arange(_NUM_ROWS)], atol=1e-5)


class _Source:
  """A variable source whose weights change with every request."""

  def __init__(self):
    self.version = 0

  def get_variables(self, names):
    assert list(names) == ['policy']
    self.version += 1
    return [np.float32(self.version)]


def test_actor_keeps_its_weights_for_a_whole_episode():
  def policy(params, key, observation):
    del key
    return jnp.broadcast_to(params, observation.shape)

  actor = feed_forward_actor.make_actor(
      jax.random.PRNGKey(0), policy, _Source())
  first = dm_env.restart(np.zeros(2, np.float32))
  middle = dm_env.transition(1., np.zeros(2, np.float32))
  last = dm_env.termination(1., np.zeros(2, np.float32))
  versions = []
  for _ in range(3):
    actor.observe_first(first)
    episode = []
    for timestep in (middle, middle, last):
      action = actor.select_action(timestep.observation)
      assert action.shape == (2,)
      episode.append(action[0])
      actor.observe(action, next_timestep=timestep)
      actor.update()
    versions.append(set(episode))
  assert all(len(episode) == 1 for episode in versions)
  assert max(versions[0]) < max(versions[1]) < max(versions[2])


@pytest.mark.parametrize('make_key', [jax.random.PRNGKey, jax.random.key])
def test_actor_uses_a_new_key_at_each_step(make_key):
  def policy(params, key, observation):
    return params + jax.random.normal(key, observation.shape)

  actor = feed_forward_actor.make_actor(make_key(0), policy, _Source())
  actor.observe_first(dm_env.restart(np.zeros(2, np.float32)))
  actions = [actor.select_action(np.zeros(2, np.float32)) for _ in range(3)]
  assert len({tuple(action) for action in actions}) == 3


def test_actors_of_one_policy_share_its_compiled_program():
  traces = []

  def policy(params, key, observation):
    traces.append(observation.shape)
    return params + jax.random.normal(key, observation.shape)

  actions = []
  for seed in (0, 1, 0):
    actor = feed_forward_actor.make_actor(
        jax.random.PRNGKey(seed), policy, _Source())
    actor.observe_first(dm_env.restart(np.zeros(2, np.float32)))
    actions.append(actor.select_action(np.zeros(2, np.float32)))
  assert traces == [(1, 2)]
  np.testing.assert_array_equal(actions[0], actions[2])
  assert (actions[0] != actions[1]).all()
