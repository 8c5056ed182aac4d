"""A picture of values, data and trajectories of MSG in a point maze."""

from typing import Any, Callable, List, NamedTuple, Sequence, Tuple

from acme import types
import jax
import jax.numpy as jnp
from matplotlib import collections as shapes
from matplotlib import colors
from matplotlib import figure as figure_lib
from matplotlib import patches
import numpy as np

from . import plots
from .. import networks as networks_lib
from ..environments import mazes
from ..environments import pointmaze
from ..networks import tanh_normal

# Distance between the positions at which values are drawn, in units of length.
_SPACING = 0.2
# Side of the squares in which transitions are counted, in units of length.
_DATA_SQUARE = 0.5
# Larger numbers of dots hide each other.
_MAX_REWARD_DOTS = 500

_WALL_COLOR = '0.35'
_SUCCESS_COLOR, _FAILURE_COLOR = plots.COLORS[:2]
_START_COLOR, _GOAL_COLOR = '0.1', plots.COLORS[3]
_REWARD_COLOR = plots.COLORS[1]


class Trajectory(NamedTuple):
  """An evaluation episode of L steps in a maze.

  Attributes:
    positions: `[L + 1, 2]`, in units of length.
    goal: goal of the episode, `[2]`.
    success: whether the goal was reached.
  """
  positions: np.ndarray
  goal: np.ndarray
  success: bool


def rollouts(task_name: str, policy: Callable[..., jax.Array], params: Any,
             num_episodes: int, seed: int = 0) -> List[Trajectory]:
  """Runs evaluation episodes, on the CPU.

  Args:
    task_name: one of `pointmaze.task_names()`.
    policy: `policy(params, key, observation [B, O]) -> action [B, A]`, from a
      builder's `make_policy`.
    params: the policy's params.
    num_episodes: number of episodes.
    seed: seed of starts, goals and the policy's samples.

  Raises:
    ValueError: if there is no such task.
  """
  environment = pointmaze.PointMaze(task_name, seed)
  trajectories = []
  with jax.default_device(jax.local_devices(backend='cpu')[0]):
    params = jax.tree.map(jnp.asarray, params)

    @jax.jit
    def act(key, observation):
      key, policy_key = jax.random.split(key)
      return key, policy(params, policy_key, observation[None])[0]

    key = jax.random.PRNGKey(seed)
    for _ in range(num_episodes):
      step = environment.reset()
      positions = [step.observation[:2]]
      while not step.last():
        key, action = act(key, step.observation)
        step = environment.step(np.asarray(action))
        positions.append(step.observation[:2])
      trajectories.append(Trajectory(
          np.stack(positions), environment.goal, step.reward > 0))
  return trajectories


def values_at_rest(
    networks: networks_lib.MSGNetworks, policy_params: Any,
    critic_params: Any, positions: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray]:
  """Evaluates the critics at positions `[..., 2]` with velocity zero.

  Returns:
    Mean and standard deviation (ddof 0) over members i of the value of the
    policy's mode, `min_k Q_ik(s, tanh(loc(s)))`, `[...]` each.
  """
  flat = np.reshape(positions, (-1, 2)).astype(np.float32)
  observations = np.concatenate([flat, np.zeros_like(flat)], axis=1)

  @jax.jit
  def evaluate(policy_params, critic_params, observations):
    actions = tanh_normal.mode(
        networks.policy.apply(policy_params, observations))
    q = networks.critic.apply(critic_params, observations, actions).q
    return jnp.min(q, axis=-1)

  q = np.asarray(evaluate(policy_params, critic_params, observations))
  shape = np.shape(positions)[:-1]
  return q.mean(axis=0).reshape(shape), q.std(axis=0).reshape(shape)


def _edges(maze: mazes.Maze, side: float) -> Tuple[np.ndarray, np.ndarray]:
  """Returns the edges of squares that cover a maze, along x and along y."""
  x, y, width, height = maze.extent
  return (np.linspace(x, x + width, round(width / side) + 1),
          np.linspace(y, y + height, round(height / side) + 1))


def _draw_squares(axes, edges, values, label, **style):
  """Draws one value per square, `[rows, columns]`, and a colour bar."""
  image = axes.pcolormesh(*edges, values, rasterized=True, **style)
  # To the right of the maze and of the same height.
  axes.figure.colorbar(
      image, cax=axes.inset_axes([1.03, 0, 0.04, 1]), label=label)


def _draw_data(axes, maze, dataset):
  """Draws the number of transitions per square, and rewarded positions."""
  edges = _edges(maze, _DATA_SQUARE)
  x, y = dataset.observation[:, :2].T
  counts, *_ = np.histogram2d(x, y, bins=edges)
  _draw_squares(
      axes, edges, np.ma.masked_equal(counts.T, 0),
      f'transitions in a square of side {_DATA_SQUARE}', cmap='Blues',
      norm=colors.LogNorm(1, max(counts.max(), 10)))
  # A reward above the least one is the transformed reward 1 of the task. The
  # position is that before the step, because in files of D4RL's layout the
  # observation after an episode's last step belongs to the next episode.
  rewarded = dataset.observation[dataset.reward > dataset.reward.min(), :2]
  rewarded = rewarded[::len(rewarded) // _MAX_REWARD_DOTS + 1]
  axes.plot(*rewarded.T, '.', color=_REWARD_COLOR, markersize=3,
            label='rewarded' if len(rewarded) else 'rewarded: nowhere')
  axes.set_title(f'Data: {len(dataset.reward):,} transitions')


def _draw_trajectories(axes, trajectories):
  """Draws the trajectory, the start and the goal of each episode."""
  for success, color, label in ((True, _SUCCESS_COLOR, 'success'),
                                (False, _FAILURE_COLOR, 'failure')):
    axes.add_collection(shapes.LineCollection(
        [t.positions for t in trajectories if t.success == success],
        colors=color, linewidths=1, alpha=0.7, label=label))
  axes.plot(*np.transpose([t.positions[0] for t in trajectories]), 'o',
            color=_START_COLOR, markersize=3, zorder=3, label='start')
  for trajectory in trajectories:
    _draw_goal(axes, trajectory.goal, _GOAL_COLOR)
  axes.plot([], [], 'o', markeredgecolor=_GOAL_COLOR, markerfacecolor='none',
            label='goal')
  succeeded = sum(t.success for t in trajectories)
  axes.set_title(f'Final policy: {succeeded} of {len(trajectories)} episodes '
                 'reach the goal')


def _draw_goal(axes, goal, color):
  axes.add_patch(patches.Circle(
      goal, pointmaze.GOAL_RADIUS, facecolor='none', edgecolor=color,
      linewidth=1.2, zorder=3))


def _draw_maze(axes, maze):
  """Draws the walls, and the legend below: a maze has no empty corner."""
  for x, y, width, height in maze.walls:
    axes.add_patch(patches.Rectangle(
        (x, y), width, height, facecolor=_WALL_COLOR, linewidth=0, zorder=2))
  x, y, width, height = maze.extent
  # Show only a part of the outer walls.
  margin = 0.75 * mazes.SCALING
  axes.set(aspect='equal',
           xlim=(x + margin, x + width - margin), xlabel='x (units of length)',
           ylim=(y + margin, y + height - margin), ylabel='y (units of length)')
  handles, _ = axes.get_legend_handles_labels()
  if handles:
    axes.legend(loc='upper center', ncols=len(handles),
                bbox_to_anchor=(0.5, -0.13), frameon=False, fontsize='small',
                handletextpad=0.4, columnspacing=1.2)


def draw(output_png: str, task_name: str, networks: networks_lib.MSGNetworks,
         policy_params: Any, critic_params: Any, dataset: types.Transition,
         trajectories: Sequence[Trajectory]) -> None:
  """Draws values, their spread, the dataset and the policy's trajectories.

  Args:
    output_png: path of the picture, which is replaced if it exists.
    task_name: one of `pointmaze.task_names()`.
    networks: policy and critics.
    policy_params: from `get_variables(['policy'])`.
    critic_params: those of all members, from `get_variables(['critic'])`.
    dataset: the T transitions from which the policy was learned, `[T, ...]`.
    trajectories: episodes of the policy, from `rollouts`.

  Raises:
    ValueError: if there is no such task.
  """
  maze = pointmaze.get_task(task_name).maze
  edges = _edges(maze, _SPACING)
  centres = np.stack(np.meshgrid(
      *(edge[:-1] + _SPACING / 2 for edge in edges)), axis=-1)
  is_free = np.array([[maze.is_free(maze.to_cell(xy)) for xy in row]
                      for row in centres])
  moments = np.full((2,) + is_free.shape, np.nan)
  moments[:, is_free] = values_at_rest(
      networks, policy_params, critic_params, centres[is_free])

  _, _, width, height = maze.extent
  figure = figure_lib.Figure(
      figsize=(11, 2 + 8.4 * height / width), layout='constrained')
  top, (data_axes, trajectory_axes) = figure.subplots(2, 2)
  for axes, values, title, label, colormap in zip(
      top, moments,
      ('Value at rest: mean', 'Its uncertainty: standard deviation'),
      ('Q (units of reward)', 'std of Q (units of reward)'),
      ('viridis', 'magma')):
    _draw_squares(axes, edges, values, label, cmap=colormap)
    _draw_goal(axes, maze.to_xy(maze.evaluation_goal), 'white')
    axes.set_title(f'{title} of {networks.critic.num_members} members')
  _draw_data(data_axes, maze, dataset)
  _draw_trajectories(trajectory_axes, trajectories)
  for axes in (*top, data_axes, trajectory_axes):
    _draw_maze(axes, maze)
  figure.suptitle(task_name)
  plots.save(figure, output_png)
