"""Ranges, means and standard deviations of vectors added in blocks."""

import numpy as np


class Moments:
  """Ranges and moments of vectors `[size]` that are added in blocks.

  Attributes:
    count: number of vectors.
    low: `[size]`, the lowest values.
    high: `[size]`, the highest values.
  """

  def __init__(self):
    self.count = 0
    self.low = self.high = self._total = self._squares = None

  def add(self, values: np.ndarray):
    """Adds a block `[T, size]`."""
    low, high = values.min(axis=0), values.max(axis=0)
    total = values.sum(axis=0, dtype=np.float64)
    mean = total / len(values)
    squares = np.square(values - mean).sum(axis=0)
    if not self.count:
      self.low, self.high = low, high
      self._total, self._squares = total, squares
    else:
      # The two parts have different means.
      shift = mean - self._total / self.count
      self._squares += squares + np.square(shift) * (
          self.count * len(values) / (self.count + len(values)))
      self.low = np.minimum(self.low, low)
      self.high = np.maximum(self.high, high)
      self._total = self._total + total
    self.count += len(values)

  @property
  def mean(self) -> np.ndarray:
    """`[size]` float64."""
    return self._total / self.count

  @property
  def std(self) -> np.ndarray:
    """`[size]` float64, with `ddof=0`."""
    return np.sqrt(self._squares / self.count)
