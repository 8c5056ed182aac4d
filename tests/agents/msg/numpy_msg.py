"""MSG's gradient step in NumPy with float64, from docs/msg.md 3 to 6.

This module does not call the agent's code. Networks (`numpy_networks`) and
losses are written out; gradients are central differences. Random numbers come
from `jax.random`, with the keys that the agent uses.

Shapes: `N` members, `B` batch rows, `b` rows that a member sees, `K` heads, `M`
proposed actions, `O` observation, `A` action. Each member has its own rows,
`[N, b, ...]`, even if all members see the same ones.
"""

from typing import Any, Callable, NamedTuple

import jax
import numpy as np
import numpy_networks as networks
from scipy import special


def gradient(loss: Callable[[Any], float], params: Any,
             step: float = 1e-6) -> Any:
  """Central differences of `loss` at `params`, a tree of float64 arrays."""
  params = jax.tree.map(np.array, params)

  def one_leaf(leaf):
    result = np.zeros(leaf.shape)
    for index in np.ndindex(leaf.shape):
      value = leaf[index]
      leaf[index] = value + step
      above = loss(params)
      leaf[index] = value - step
      below = loss(params)
      leaf[index] = value
      result[index] = (above - below) / (2 * step)
    return result

  return jax.tree.map(one_leaf, params)


class Adam(NamedTuple):
  """State of Adam: moments and number of steps."""
  mean: Any
  square: Any
  count: int

  @classmethod
  def zero(cls, params):
    zeros = jax.tree.map(np.zeros_like, params)
    return cls(zeros, zeros, 0)

  def step(self, grad, params, learning_rate, decay=0.):
    """One step of Adam, or AdamW with `decay`: `(Adam, params)`."""
    tree_map = jax.tree.map
    mean = tree_map(lambda m, g: 0.9 * m + 0.1 * g, self.mean, grad)
    square = tree_map(
        lambda s, g: 0.999 * s + 0.001 * g * g, self.square, grad)
    count = self.count + 1
    params = tree_map(
        lambda p, m, s: p - learning_rate * (
            m / (1 - 0.9 ** count)
            / (np.sqrt(s / (1 - 0.999 ** count)) + 1e-8) + decay * p),
        params, mean, square)
    return Adam(mean, square, count), params


class State(NamedTuple):
  """Everything that a gradient step reads and writes."""
  policy: Any
  policy_adam: Adam
  critic: Any
  target: Any
  critic_adam: Adam
  log_alpha: Any
  alpha_adam: Adam
  key: Any
  steps: int


def make_state(state) -> State:
  """Converts an initial `TrainingState` of the agent."""
  policy, critic, target, log_alpha = jax.tree.map(
      lambda x: np.array(x, np.float64),
      (state.policy_params, state.critic_params, state.target_critic_params,
       state.log_alpha))
  return State(policy, Adam.zero(policy), critic, target, Adam.zero(critic),
               log_alpha, Adam.zero(log_alpha), state.key, 0)


class Reference:
  """The gradient step of a config on one minibatch."""

  def __init__(self, config, transition):
    self._config = config
    self._batch = jax.tree.map(lambda x: np.array(x, np.float64), transition)
    self._shape = self._batch.action.shape
    self._min_scale = (
        1e-3 if config.ensemble_method == 'batch_ensemble' else 1e-2)

  def _q(self, params, observation, action):
    """Values `[N, b, K]` and features, the heads' concatenated."""
    critic = networks.CRITICS[self._config.ensemble_method]
    outputs = [critic(p, observation, action) for p in params]
    values = np.stack([value for value, _ in outputs], axis=-1)
    if outputs[0][1] is None:
      return values, None
    return values, [np.concatenate(features, axis=-1) for features in zip(
        *(features for _, features in outputs))]

  def _policy(self, params, observation):
    hidden = networks.trunk(params, observation, 'policy_trunk')
    raw = networks.linear(params['scale'], hidden)
    return (networks.linear(params['loc'], hidden),
            np.logaddexp(0, raw) + self._min_scale)

  def _member_keys(self, key):
    return jax.random.split(key, self._config.ensemble_size)

  def _independent_samples(self):
    return self._config.ensemble_method in ('deep_ensembles', 'batch_ensemble')

  def _rows(self, shuffle_key):
    """Indices of the rows that each member sees, `[N, b]`."""
    config, num_rows = self._config, self._shape[0]
    if config.ensemble_method == 'batch_ensemble' and config.batch_split:
      return np.arange(num_rows).reshape(config.ensemble_size, -1)
    rows = np.tile(np.arange(num_rows), (config.ensemble_size, 1))
    if config.ensemble_method == 'mimo':
      half = num_rows // 2
      for i, key in enumerate(self._member_keys(shuffle_key)):
        rows[i, :half] = jax.random.permutation(key, half)
    return rows

  def _noise(self, key, num, rows, draw=jax.random.normal):
    """Noise `[num, N, b, A]`, drawn per member or once per transition."""
    if self._independent_samples():
      shape = (num, rows.shape[1], self._shape[1])
      return np.stack(
          [draw(k, shape) for k in self._member_keys(key)], axis=1)
    return np.asarray(draw(key, (num,) + self._shape))[:, rows]

  def _sass(self, params, target, key):
    """Losses and accuracies, `[N]` or `[1]` if joint (docs/msg.md 6.1)."""
    batch, config = self._batch, self._config
    half = self._shape[0] // 2
    shape = (self._shape[0] - half, self._shape[1])
    draw = lambda k: np.asarray(
        jax.random.uniform(k, shape, minval=-1., maxval=1.), np.float64)
    if self._independent_samples():
      draws = [draw(k) for k in self._member_keys(key)]
    else:
      draws = [draw(key)] * config.ensemble_size
    next_action = np.stack([
        np.concatenate([batch.extras['next_action'][:half], d])
        for d in draws])
    everywhere = lambda x: np.stack([x] * config.ensemble_size)
    _, features = self._q(
        params, everywhere(batch.observation), everywhere(batch.action))
    _, next_features = self._q(
        target, everywhere(batch.next_observation), next_action)
    across = np.array([
        networks.nt_xent(left, right, config.pretrain_temp)
        for left, right in zip(features, next_features)])
    within = [networks.nt_xent(left, left, config.pretrain_temp)[0]
              for left in features]
    return 0.5 * (across[:, 0] + within), across[:, 1]

  def _sass_loss(self, params, target, key):
    """One loss of joint features; else as the members' other losses."""
    loss = np.sum(self._sass(params, target, key)[0])
    if self._config.ensemble_method == 'batch_ensemble':
      loss /= self._config.ensemble_size
    return loss

  def _reduce(self, values):
    """The policy's objective or a shared target of values `[N, ...]`."""
    config = self._config
    if config.td_target_method == 'shared_mean':
      return np.mean(values, axis=0)
    if config.td_target_method == 'shared_min':
      return np.min(values, axis=0)
    return np.mean(values, axis=0) + config.beta * np.std(
        values, axis=0, ddof=config.std_ddof)

  def critic_loss(self, state: State, batch_key, critic_key):
    """The critics' loss and its metrics, two functions of their parameters."""
    config, batch = self._config, self._batch
    next_key, policy_key, uniform_key, shuffle_key = jax.random.split(
        batch_key, 4)
    weights_key, mixture_key, sass_key = jax.random.split(critic_key, 3)
    rows = self._rows(shuffle_key)
    observation, action = batch.observation[rows], batch.action[rows]
    next_observation = batch.next_observation[rows]

    loc, scale = self._policy(state.policy, next_observation)
    next_action = np.tanh(loc + scale * self._noise(next_key, 1, rows)[0])
    if config.perform_sarsa_q_eval:
      next_action = batch.extras['next_action'][rows]
    next_q, _ = self._q(state.target, next_observation, next_action)
    target = (config.reward_scale * batch.reward[rows] + config.discount
              * batch.discount[rows] * np.min(next_q, axis=-1))
    if config.td_target_method != 'independent':
      target = np.stack([self._reduce(target)] * config.ensemble_size)

    kind = config.behavior_regularization_type
    num = config.num_cql_actions if kind == 'cql' else 1
    loc, scale = self._policy(state.policy, observation)
    proposals = np.tanh(loc + scale * self._noise(policy_key, num, rows))
    log_proposals = networks.log_prob(loc, scale, proposals)
    if kind == 'cql':
      uniform = self._noise(
          uniform_key, num, rows, lambda k, shape: jax.random.uniform(
              k, shape, minval=-1., maxval=1.))
      proposals = np.concatenate([proposals, uniform])
      log_proposals = np.concatenate([
          log_proposals,
          np.full(uniform.shape[:-1], -self._shape[1] * np.log(2.))])

    def member_noise(key, shape, maximum):
      return np.stack([jax.random.uniform(k, shape, maxval=maximum)
                       for k in self._member_keys(key)])

    weights = np.ones(next_q.shape)
    if config.use_random_weighting_in_critic_loss:
      weights = member_noise(weights_key, next_q.shape[1:], 2.)
    mixture = member_noise(mixture_key, target.shape[1:], 1.)
    mixture = (mixture / np.sum(mixture, axis=0))[..., None]

    def values(params):
      return self._q(params, observation, action)[0], np.stack([
          self._q(params, observation, a)[0] for a in proposals])

    q, proposed = values(state.critic)
    # No gradient flows through the choice of rows by 'v2'.
    is_active = np.min(proposed[0], axis=-1) >= np.min(q, axis=-1)

    def member_losses(params):
      """Squared errors and regularisers, each `[N]`."""
      q, proposed = values(params)
      errors, error_weights = q - target[..., None], weights
      if config.rem_mode:
        # Every member has the loss of the one mixture.
        errors = np.stack([np.sum(mixture * errors, axis=0)] * len(q))
        error_weights = np.mean(weights, axis=0)
      squared = 0.5 * np.mean(error_weights * errors ** 2, axis=(1, 2))
      gap = np.min(proposed[0], axis=-1) - np.min(q, axis=-1)
      regularizer = {
          'none': lambda: np.zeros_like(gap),
          'v1': lambda: gap,
          'v1_prime': lambda: np.sum(proposed[0] - q, axis=-1),
          'v2': lambda: is_active * np.min(proposed[0], axis=-1),
          'v3': lambda: np.maximum(gap, 0),
          'cql': lambda: np.sum(special.logsumexp(
              proposed - log_proposals[..., None], axis=0) - q, axis=-1),
      }[kind]()
      return squared, np.mean(regularizer, axis=1)

    def loss(params):
      squared, regularizer = member_losses(params)
      total = np.sum(
          squared + config.behavior_regularization_alpha * regularizer)
      if config.ensemble_method != 'deep_ensembles':
        total /= config.ensemble_size
      if config.use_sass:
        total += self._sass_loss(params, state.target, sass_key)
      return total

    squared, regularizer = member_losses(state.critic)
    metrics = {
        'critic_loss':
            squared + config.behavior_regularization_alpha * regularizer,
        'behavior_reg_loss': regularizer}
    if kind == 'v2':
      metrics['fraction_behavior_reg_active'] = np.mean(is_active, axis=1)
    if config.use_sass:
      contrast = self._sass(state.critic, state.target, sass_key)
      metrics['sass_loss'], metrics['sass_acc'] = np.mean(contrast, axis=1)
    if config.perform_sarsa_q_eval:
      metrics.update(self._moments(q))
    return loss, metrics

  def _moments(self, q):
    """Metrics of values `[N, B, K]`: mean and deviation of members, `[B]`."""
    q = np.min(q, axis=-1)
    return {'q_mean': np.mean(q, axis=0),
            'q_std': np.std(q, axis=0, ddof=self._config.std_ddof)}

  def policy_loss(self, state: State, alpha, key):
    """The policy's loss, a function of its parameters, and its metrics."""
    config, batch = self._config, self._batch
    noise = np.asarray(jax.random.normal(key, self._shape), np.float64)

    def sample(params):
      loc, scale = self._policy(params, batch.observation)
      action = np.tanh(loc + scale * noise)
      return action, np.mean(networks.log_prob(loc, scale, action))

    def loss(params):
      action, log_probability = sample(params)
      everywhere = lambda x: np.stack([x] * config.ensemble_size)
      q, _ = self._q(
          state.critic, everywhere(batch.observation), everywhere(action))
      entropy_term = 0.
      if config.use_entropy_regularization:
        entropy_term = alpha * log_probability
      return -np.mean(self._reduce(np.min(q, axis=-1))) + entropy_term

    action, log_probability = sample(state.policy)
    everywhere = lambda x: np.stack([x] * config.ensemble_size)
    q, _ = self._q(
        state.critic, everywhere(batch.observation), everywhere(action))
    return loss, {
        'actor_loss': loss(state.policy), 'avg_log_prob': log_probability,
        'q': np.mean(np.min(q, axis=-1), axis=1), **self._moments(q)}

  def cloning_loss(self, params):
    """The negative log-likelihood of the data's actions."""
    return -np.mean(networks.log_prob(
        *self._policy(params, self._batch.observation), self._batch.action))

  def step(self, state: State):
    """One gradient step: `(state, metrics by name)` (docs/msg.md 3.1)."""
    config = self._config
    decay = 1e-3 if config.mimo_using_adamw else 0.
    key, step_key = jax.random.split(state.key)
    pretraining = config.num_q_repr_pretrain_iters
    if state.steps < pretraining:
      grad = gradient(
          lambda p: self._sass_loss(p, state.target, step_key),
          state.critic)
      loss, accuracy = np.mean(
          self._sass(state.critic, state.target, step_key), axis=1)
      adam, critic = state.critic_adam.step(grad, state.critic, config.q_lr)
      return state._replace(
          critic=critic, target=critic, critic_adam=adam, key=key,
          steps=state.steps + 1), {
              'pretraining/pretrain_loss': loss,
              'pretraining/pretrain_acc': accuracy}

    critic_adam = state.critic_adam
    if pretraining and state.steps == pretraining:
      critic_adam = Adam.zero(state.critic)
    batch_key, critic_key, policy_key = jax.random.split(step_key, 3)
    loss, metrics = self.critic_loss(state, batch_key, critic_key)
    grad = gradient(loss, state.critic)
    critic_adam, critic = critic_adam.step(
        grad, state.critic, config.q_lr, decay)
    target = jax.tree.map(lambda t, c: (1 - config.tau) * t + config.tau * c,
                          state.target, critic)
    new_state = state._replace(
        critic=critic, target=target, critic_adam=critic_adam, key=key,
        steps=state.steps + 1)
    if config.perform_sarsa_q_eval:
      return new_state, metrics

    alpha = np.exp(state.log_alpha)
    if config.entropy_coefficient is not None:
      alpha = config.entropy_coefficient
    loss, policy_metrics = self.policy_loss(state, alpha, policy_key)
    cloning = state.steps < pretraining + config.num_bc_iters
    if cloning:
      loss = self.cloning_loss
      policy_metrics = {'actor_loss': loss(state.policy),
                        'avg_log_prob': -loss(state.policy)}
    metrics.update(policy_metrics)
    grad = gradient(loss, state.policy)
    adam, policy = state.policy_adam.step(
        grad, state.policy, config.policy_lr)
    new_state = new_state._replace(policy=policy, policy_adam=adam)
    if cloning or not config.use_entropy_regularization:
      return new_state, metrics
    metrics['alpha'] = alpha
    if config.entropy_coefficient is not None:
      return new_state, metrics
    target_entropy = config.target_entropy
    if target_entropy is None:
      target_entropy = -self._shape[1]
    # The loss is linear in alpha, so it equals its gradient by log alpha.
    metrics['alpha_loss'] = alpha * (
        -metrics['avg_log_prob'] - target_entropy)
    adam, log_alpha = state.alpha_adam.step(
        metrics['alpha_loss'], state.log_alpha, config.alpha_lr)
    return new_state._replace(log_alpha=log_alpha, alpha_adam=adam), metrics
