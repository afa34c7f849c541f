"""How far the prompts of a task are spread over its runs (the reference study, table 1)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.stats import chi2
from torch import Tensor


def spread_table(labels: pd.DataFrame, prompts: Sequence[Float[Tensor, "_ d"]]) -> pd.DataFrame:
    """Mean norm of each task's prompts, and two measures of how much the prompts differ between runs.

    Args:
        labels: one line per run, with `task` and `variant`; its index is the place of the run's prompt in `prompts`.
        prompts: the matrices; those of one task and variant have the same shape.

    Returns:
        One line per task and variant. `mean_norm` and `norm_variance` are the mean and the unbiased variance of the
        Frobenius norms ‖P_r‖ over the R runs (the reference study, table 1: its variance is among a task's four prompts).
        `norm_variance_low` and `norm_variance_high` are its 95% interval if the norms are normal, (R − 1)·s² / χ².
        `mean_squared_distance` is Σ_r ‖P_r − mean‖² / (R − 1), the trace of the covariance over runs. Variances have
        the unit of a squared embedding, and are NaN with one run.
    """
    lines = []
    for (task, variant), group in labels.groupby(["task", "variant"], sort=False):
        stacked = torch.stack([prompts[index] for index in group.index]).double()  # [R, n, d]
        norms = torch.linalg.matrix_norm(stacked)  # [R]
        runs = len(stacked)
        norm_variance = distance = low = high = np.nan
        if runs > 1:
            # Less the first run's, so that equal prompts have a variance of exactly 0.
            norm_variance = float((norms - norms[0]).var(correction=1))
            distance = float((stacked - stacked[0]).var(dim=0, correction=1).sum())
            low, high = (runs - 1) * norm_variance / chi2.ppf([0.975, 0.025], runs - 1)
        lines.append(
            {
                "task": task,
                "variant": variant,
                "runs": runs,
                "mean_norm": float(norms.mean()),
                "norm_variance": norm_variance,
                "norm_variance_low": float(low),
                "norm_variance_high": float(high),
                "mean_squared_distance": distance,
            }
        )
    return pd.DataFrame(lines)
