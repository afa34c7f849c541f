"""Where the curves of a run go besides metrics.csv: Weights & Biases, or any logger of Lightning's."""

from softprompt.training.trackers.tracker import Tracker, open_tracker

__all__ = ["Tracker", "open_tracker"]
