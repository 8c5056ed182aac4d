"""Pictures of finished runs: their learning curves."""

import os
from typing import Mapping

from matplotlib import figure as figure_lib
from matplotlib import ticker
import numpy as np

from ..launch import evaluations

# Okabe and Ito's colours, which are told apart without seeing red or green.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')


def save(figure: figure_lib.Figure, output_png: str) -> None:
  """Writes a figure as PNG; the file appears, or is replaced, at once.

  Args:
    figure: what to write.
    output_png: the file, whose folder is made if missing.
  """
  output_png = os.path.abspath(output_png)
  os.makedirs(os.path.dirname(output_png), exist_ok=True)
  temporary = f'{output_png}.{os.getpid()}.tmp'
  figure.savefig(temporary, format='png', dpi=150)
  os.replace(temporary, output_png)


def learning_curve(runs: Mapping[str, str], output_png: str,
                   title: str) -> None:
  """Draws the evaluations of runs against their gradient steps.

  A line is the mean over an evaluation's episodes, the band around it one
  standard error of that mean. (Where an episode succeeds or fails, quartiles
  and extremes would nearly always span the whole picture.)

  Args:
    runs: directories of runs by the label that each gets in the legend.
    output_png: the picture to write.
    title: stands above the picture.

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
  scored = {
      label: all(evaluation.scores is not None for evaluation in curve.values())
      for label, curve in curves.items()}
  if len(set(scored.values())) > 1:
    without = [label for label, has_scores in scored.items() if not has_scores]
    raise ValueError(
        f'The runs {without} have no normalised scores, but the others do. '
        'Draw them apart.')
  has_scores = all(scored.values())

  figure = figure_lib.Figure(figsize=(7, 4.2), layout='constrained')
  axes = figure.add_subplot()
  for i, (label, curve) in enumerate(curves.items()):
    color = COLORS[i % len(COLORS)]
    episodes = [evaluation.scores if has_scores else evaluation.returns
                for evaluation in curve.values()]
    mean = np.array([np.mean(x) for x in episodes])
    error = np.array([np.std(x) / np.sqrt(len(x)) for x in episodes])
    axes.fill_between(
        curve.keys(), mean - error, mean + error, color=color, alpha=0.2,
        linewidth=0)
    axes.plot(curve.keys(), mean, color=color, marker='o', markersize=3.5,
              label=f'{label}: {mean[-1]:.4g} at the end')
  axes.set_xlabel('gradient steps')
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))
  axes.set_xlim(left=0)
  axes.set_ylabel('normalised score (%)' if has_scores
                  else "return (environment's reward per episode)")
  axes.set_title(title)
  axes.grid(color='0.9')
  axes.set_axisbelow(True)
  axes.spines[['top', 'right']].set_visible(False)
  axes.legend(frameon=False, title='mean of the episodes ± standard error',
              title_fontsize='small', alignment='left')
  save(figure, output_png)
