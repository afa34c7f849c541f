"""Correction of p for the number of tests."""

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float]) -> list[float]:
    """p corrected for the number of tests (Holm 1979): the chance of any false rejection stays below the level."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    stepped = np.minimum(np.maximum.accumulate(np.asarray(p, float)[order] * factors), 1.0)
    corrected = np.empty(len(p))
    corrected[order] = stepped
    return [float(value) for value in corrected]
