"""Does a row matter? What is lost when it is dropped, or replaced by something that was not learned.

The reference study (section 5.1) finds that tokens of the instruction stay nearest to their rows, and concludes that
they "must really help". Here that is tried.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from softprompt.analysis.statistics import (
    Weights,
    bootstrap_mean,
    bootstrap_ratio,
    crossed_weights,
    interval,
    weighted_sums,
)

Matrix = Float[Tensor, "_ d"]
LEAST_ROWS = 5
EDITS = ("dropped", "as it started", "nearest token", "mean embedding")


def edited_prompts(
    prompt: Float[Tensor, "n d"],
    start: Float[Tensor, "n d"],
    nearest: Float[Tensor, "n d"],
    mean: Float[Tensor, "d"],
) -> dict[tuple[int, str], Matrix]:
    """The prompt with one row changed, for every row and each of `EDITS`.

    `nearest` are the embeddings of the tokens nearest to its rows, `mean` is the mean of the vocabulary's.
    """
    changed: dict[tuple[int, str], Matrix] = {}
    for row in range(len(prompt)):
        changed[row, "dropped"] = torch.cat([prompt[:row], prompt[row + 1 :]])
        for edit, other in (
            ("as it started", start[row]),
            ("nearest token", nearest[row]),
            ("mean embedding", mean),
        ):
            changed[row, edit] = torch.cat([prompt[:row], other[None], prompt[row + 1 :]])
    return changed


def attribution_table(
    edits: Sequence[tuple[int, str]],
    whole: tuple[Bool[np.ndarray, "E"], Float[np.ndarray, "E"]],
    right: Bool[np.ndarray, "P E"],
    loss: Float[np.ndarray, "P E"],
) -> pd.DataFrame:
    """One line per edit: by how much the loss rises (nats per answer) and exact match changes (points).

    `whole` are right answers and losses of the prompt as it is; `right` and `loss` those of P edited prompts on the
    same E examples.
    """
    return pd.DataFrame(
        {
            "row": [row for row, _ in edits],
            "edit": [edit for _, edit in edits],
            "loss_change": (loss - whole[1]).mean(1),
            "exact_match_change": 100 * (right.astype(float) - whole[0]).mean(1),
        }
    )


def kept_against_others(table: pd.DataFrame) -> pd.DataFrame:
    """Per task, start and edit: does changing a row that kept its token cost more than changing another?

    `table` has the lines of `attribution_table` of several runs with `run`, `task`, `variant` and `kept`. `difference`
    is the mean rise in loss over kept rows less that over the others; its 95% interval resamples runs and rows, and is
    NaN unless there are `LEAST_ROWS` rows of either kind: of fewer, resampling cannot tell how much rows differ.
    """
    lines = []
    for (task, variant, edit), own in table.groupby(["task", "variant", "edit"], sort=False):
        by_kind = own.assign(other=~own["kept"]).astype({"kept": float, "other": float})
        change, of_kept, of_others = (
            # A shorter prompt's missing rows are of neither kind.
            by_kind.pivot(index="run", columns="row", values=name).fillna(0.0).to_numpy()
            for name in ("loss_change", "kept", "other")
        )
        runs, rows = change.shape
        once = np.ones((1, runs)), np.ones((1, rows))
        low, high = np.nan, np.nan
        if min(of_kept.any(0).sum(), of_others.any(0).sum()) >= LEAST_ROWS:
            low, high = interval(_difference(change, of_kept, of_others, crossed_weights(runs, rows)))
        lines.append(
            {
                "task": task,
                "variant": variant,
                "edit": edit,
                "kept_rows": int(of_kept.sum()),
                "other_rows": int(of_others.sum()),
                "kept": change[of_kept == 1].mean() if of_kept.any() else np.nan,
                "others": change[of_others == 1].mean() if of_others.any() else np.nan,
                "difference": float(_difference(change, of_kept, of_others, once)[0]),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(lines)


def _difference(
    change: Float[np.ndarray, "R n"],
    kept: Float[np.ndarray, "R n"],
    others: Float[np.ndarray, "R n"],
    weights: Weights,
) -> Float[np.ndarray, "b"]:
    """Weighted mean of the changes where kept is 1, less that where others is 1; NaN where either has no weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        of_kept = weighted_sums(change * kept, weights) / weighted_sums(kept, weights)
        of_others = weighted_sums(change * others, weights) / weighted_sums(others, weights)
    difference: Float[np.ndarray, "b"] = of_kept - of_others
    return difference


def discretised_table(
    labels: pd.DataFrame, answers: Mapping[str, Sequence[Bool[np.ndarray, "E"]]]
) -> pd.DataFrame:
    """What is left of a tuned prompt when its rows are replaced by their nearest tokens.

    `labels` has `task` and `variant` of every run; `answers` has, as `tuned`, `discretised`, `start` and `no_prompt`,
    for every run which of its task's E examples are answered rightly. `share_of_gain` is the part of the tuned prompts'
    gain over no prompt that the tokens keep, with a 95% interval that resamples runs and examples; NaN where the
    gain's own interval holds 0, since what is divided by next to nothing says nothing.
    """
    lines = []
    for (task, variant), own in labels.groupby(["task", "variant"], sort=False):
        right = {
            kind: np.stack([found[i] for i in own.index]).astype(float) for kind, found in answers.items()
        }
        left, gain = right["discretised"] - right["no_prompt"], right["tuned"] - right["no_prompt"]
        sure = bootstrap_mean(gain)[0] > 0
        low, high = bootstrap_ratio(left, gain) if sure else (np.nan, np.nan)
        lines.append(
            {
                "task": task,
                "variant": variant,
                "runs": len(left),
                "n": left.shape[1],
                **{kind: found.mean() for kind, found in right.items()},
                "share_of_gain": left.mean() / gain.mean() if sure else np.nan,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(lines)
