"""Learning curves of finished runs."""

from typing import Any, Mapping

from matplotlib import figure as figure_lib
from matplotlib import ticker
import numpy as np

from .. import atomic_files
from ..launch import evaluations

# Colours by Okabe and Ito, which colour-blind readers can distinguish.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')


def save(figure: figure_lib.Figure, output_png: str) -> None:
  """Writes a figure as a PNG file, atomically.

  The file is replaced if it exists. Its directory is made if missing.
  """
  with atomic_files.replace(output_png, 'wb') as file:
    figure.savefig(file, format='png', dpi=150)


def add_grid(axes: Any) -> None:
  """Draws a light grid below the curves, and no frame above or to the right."""
  axes.grid(color='0.9')
  axes.set_axisbelow(True)
  axes.spines[['top', 'right']].set_visible(False)


def learning_curve(runs: Mapping[str, str], output_png: str,
                   title: str) -> None:
  """Draws the evaluations of runs against their gradient steps.

  A line shows the mean over an evaluation's episodes, and the band around it
  one standard error of that mean. (Quartiles and extremes would nearly always
  span the whole picture where an episode either succeeds or fails.)

  Args:
    runs: directories of runs, by their label in the legend.
    output_png: the picture to write.
    title: title of the picture.

  Raises:
    ValueError: if there is no run, if one has no evaluations, or if only some
      of them have normalised scores.
  """
  if not runs:
    raise ValueError('learning_curve was given no runs to draw.')
  curves = {}
  for label, root_dir in runs.items():
    curves[label] = evaluations.load(root_dir)
    if not curves[label]:
      raise ValueError(
          f'The run {label!r} in {root_dir} has no evaluations yet. Train it '
          'until its first evaluation, or leave it out.')
  without = [
      label for label, curve in curves.items()
      if any(evaluation.scores is None for evaluation in curve.values())]
  if without and len(without) < len(curves):
    raise ValueError(
        f'The runs {without} have no normalised scores, but the others do. '
        'Draw them separately.')
  has_scores = not without

  figure = figure_lib.Figure(figsize=(7, 4.2), layout='constrained')
  axes = figure.add_subplot()
  for i, (label, curve) in enumerate(curves.items()):
    color = COLORS[i % len(COLORS)]
    episodes = [evaluation.scores if has_scores else evaluation.returns
                for evaluation in curve.values()]
    mean = np.array([np.mean(x) for x in episodes])
    error = np.array([np.std(x) / np.sqrt(len(x)) for x in episodes])
    axes.fill_between(
        list(curve), mean - error, mean + error, color=color, alpha=0.2,
        linewidth=0)
    axes.plot(list(curve), mean, color=color, marker='o', markersize=3.5,
              label=f'{label}: {mean[-1]:.4g} at the end')
  axes.set(title=title, xlabel='gradient steps', xlim=(0, None),
           ylabel='normalised score (%)' if has_scores
           else "return (environment's reward per episode)")
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))
  add_grid(axes)
  axes.legend(frameon=False, title='mean of the episodes ± standard error',
              title_fontsize='small', alignment='left')
  save(figure, output_png)
