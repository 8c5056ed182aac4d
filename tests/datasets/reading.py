"""Reads a file in D4RL's layout, for several tests."""

from acme_msg import datasets
from acme_msg.datasets import d4rl


def load_d4rl(path, task_name, reward_transform='auto', episode_limit=None):
  return datasets.load(
      d4rl.D4rlSource(path, task_name, episode_limit), task_name,
      datasets.DataOptions(reward_transform=reward_transform))
