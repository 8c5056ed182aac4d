"""Tests of deep ensembles and of the two orders of running members."""

from acme_msg import networks
import jax
import numpy as np
import pytest


def _inputs(per_member):
  rng = np.random.default_rng(0)
  rows = (4, 6) if per_member else (6,)
  return (rng.normal(size=rows + (3,)).astype(np.float32),
          rng.normal(size=rows + (2,)).astype(np.float32))


@pytest.mark.parametrize('per_member', [False, True])
def test_members_are_separate_mlps(per_member, relu_mlp, randomize):
  critic = networks.make_critic(
      3, 2, ensemble_size=4, hidden_sizes=(7, 5), use_double_q=True)
  params = randomize(jax.jit(critic.init)(jax.random.PRNGKey(0)))
  inputs = _inputs(per_member)
  output = jax.jit(critic.apply)(params, *inputs)
  assert output.q.shape == (4, 6, 2) and output.features.shape == (4, 6, 10)
  for i in range(4):
    observation, action = (x[i] if per_member else x for x in inputs)
    for head in range(2):
      layers = [
          (params[head][name]['w'][i], params[head][name]['b'][i])
          for name in ('critic_trunk/~/linear_0', 'critic_trunk/~/linear_1',
                       'q')]
      x = np.concatenate([observation, action], axis=-1)
      np.testing.assert_allclose(
          output.q[i, :, head], relu_mlp(layers, x)[:, 0], atol=1e-5)
      identity = (np.eye(5), np.zeros(5))
      np.testing.assert_allclose(
          output.features[i, :, 5 * head:5 * (head + 1)],
          np.maximum(relu_mlp(layers[:2] + [identity], x), 0.), atol=1e-5)


@pytest.mark.parametrize('method', ['deep_ensembles', 'batch_ensemble'])
@pytest.mark.parametrize('per_member', [False, True])
def test_sequential_equals_parallel(
    method, per_member, randomize, monkeypatch):
  critic = networks.make_critic(
      3, 2, ensemble_method=method, ensemble_size=4, hidden_sizes=(7,))
  params = randomize(jax.jit(critic.init)(jax.random.PRNGKey(0)))
  results, programs = [], []
  for is_cpu in (True, False):
    if not is_cpu:
      # Runs the order of other platforms on the CPU.
      monkeypatch.setattr(jax.lax, 'platform_dependent',
                          lambda *args, cpu, default: default(*args))
    def values_and_gradients(*args):
      output, pull_back = jax.vjp(critic.apply, *args)
      return output, pull_back(output)
    traced = jax.jit(values_and_gradients).trace(params, *_inputs(per_member))
    if is_cpu:
      # The platform for which the program is compiled decides.
      for platform, loops in (('cpu', True), ('cuda', False), ('tpu', False)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ('stablehlo.while' in text) == loops
    program = traced.lower().compile()
    programs.append(program.as_text())
    results.append(program(params, *_inputs(per_member)))
  assert ['while(' in text for text in programs] == [True, False]
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
      *results)
