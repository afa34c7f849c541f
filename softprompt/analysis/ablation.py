"""Row ablation: how the loss changes when one row of a prompt is dropped or replaced.

The reference study (section 5.1) finds that initial tokens stay nearest to their rows and concludes that they "must
really help". Ablation tests that.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from softprompt.analysis.bootstrap import Weights, crossed_weights, percentile_interval, weighted_sums

Matrix = Float[Tensor, "_ d"]
MINIMUM_ROWS = 5
NEGLIGIBLE = 0.01  # nats per answer
EDITS = ("dropped", "initial row", "nearest token", "mean embedding")


def edited_prompts(
    prompt: Float[Tensor, "n d"],
    initial: Float[Tensor, "n d"],
    nearest: Float[Tensor, "n d"],
    mean: Float[Tensor, "d"],
) -> dict[tuple[int, str], Matrix]:
    """The prompt with one row dropped or replaced, for every row and each of `EDITS`.

    Args:
        prompt: the tuned prompt.
        initial: the prompt before tuning.
        nearest: for each row, the embedding of its nearest token.
        mean: the mean embedding of the vocabulary.

    Returns:
        By row and edit; `dropped` has one row less.
    """
    edited: dict[tuple[int, str], Matrix] = {}
    for row in range(len(prompt)):
        replacements = {"initial row": initial[row], "nearest token": nearest[row], "mean embedding": mean}
        edited[row, "dropped"] = torch.cat([prompt[:row], prompt[row + 1 :]])  # [n - 1, d]
        for edit, replacement in replacements.items():
            edited[row, edit] = torch.cat([prompt[:row], replacement[None], prompt[row + 1 :]])  # [n, d]
    return edited


def ablation_table(
    edits: Sequence[tuple[int, str]],
    unedited: tuple[Bool[np.ndarray, "E"], Float[np.ndarray, "E"]],
    correct: Bool[np.ndarray, "P E"],
    loss: Float[np.ndarray, "P E"],
) -> pd.DataFrame:
    """The effect of each edit on loss and exact match.

    Args:
        edits: row and edit of each of P edited prompts.
        unedited: correctness and loss (nats per answer) of the unedited prompt on E examples.
        correct: correctness of the edited prompts on the same examples.
        loss: their losses.

    Returns:
        One line per edit: mean change in loss (nats per answer) and in exact match (percentage points).
    """
    return pd.DataFrame(
        {
            "row": [row for row, _ in edits],
            "edit": [edit for _, edit in edits],
            "loss_change": (loss - unedited[1]).mean(1),  # [P, E] -> [P]
            "exact_match_change": 100 * (correct.astype(float) - unedited[0]).mean(1),
        }
    )


def without_negligible_rows(prompt: Float[Tensor, "n d"], dropped: pd.DataFrame) -> Matrix:
    """The prompt without all rows that cost less than `NEGLIGIBLE` when they are dropped one at a time.

    Args:
        prompt: the tuned prompt.
        dropped: one line per row, with `row` and `loss_change` (nats per answer).
    """
    needed = dropped[dropped["loss_change"] >= NEGLIGIBLE]["row"]
    return prompt[sorted(needed)]


def kept_vs_others_table(table: pd.DataFrame) -> pd.DataFrame:
    """Does ablating a kept row (its nearest token is its initial token) cost more than ablating another row?

    Args:
        table: lines of `ablation_table` of several runs, with `run`, `task`, `variant` and `kept`.

    Returns:
        One line per task, variant and edit. `difference` is the mean loss change of kept rows minus that of the others.
        Its 95% interval resamples runs and rows. It is NaN with fewer than `MINIMUM_ROWS` rows of either kind, because
        resampling so few rows underestimates how much rows differ.
    """
    lines = []
    for (task, variant, edit), group in table.groupby(["task", "variant", "edit"], sort=False):
        by_kind = group.assign(other=~group["kept"]).astype({"kept": float, "other": float})
        change, is_kept, is_other = (
            # [R, n]; rows that a shorter prompt lacks are of neither kind.
            by_kind.pivot(index="run", columns="row", values=name).fillna(0.0).to_numpy()
            for name in ("loss_change", "kept", "other")
        )
        runs, rows = change.shape
        unweighted = np.ones((1, runs)), np.ones((1, rows))
        low, high = np.nan, np.nan
        if min(is_kept.any(0).sum(), is_other.any(0).sum()) >= MINIMUM_ROWS:
            weights = crossed_weights(runs, rows)
            low, high = percentile_interval(_difference(change, is_kept, is_other, weights))
        lines.append(
            {
                "task": task,
                "variant": variant,
                "edit": edit,
                "kept_rows": int(is_kept.sum()),
                "other_rows": int(is_other.sum()),
                "kept_loss_change": change[is_kept == 1].mean() if is_kept.any() else np.nan,
                "other_loss_change": change[is_other == 1].mean() if is_other.any() else np.nan,
                "difference": float(_difference(change, is_kept, is_other, unweighted)[0]),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(lines)


def _difference(
    change: Float[np.ndarray, "R n"],
    is_kept: Float[np.ndarray, "R n"],
    is_other: Float[np.ndarray, "R n"],
    weights: Weights,
) -> Float[np.ndarray, "b"]:
    """Weighted mean change of the kept rows minus that of the others; NaN if either kind has no weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        of_kept = weighted_sums(change * is_kept, weights) / weighted_sums(is_kept, weights)
        of_others = weighted_sums(change * is_other, weights) / weighted_sums(is_other, weights)
    difference: Float[np.ndarray, "b"] = of_kept - of_others
    return difference
