"""Hard prompts: how much of a tuned prompt's gain is left when every row is replaced by its nearest token."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.statistics import bootstrap_mean, bootstrap_ratio

KINDS = ("no_prompt", "initial", "hard_prompt", "tuned")


def hard_prompt_table(
    labels: pd.DataFrame, correct: Mapping[str, Mapping[int, Bool[np.ndarray, "E"]]]
) -> pd.DataFrame:
    """Exact match of the hard prompts beside that of the other prompts.

    Args:
        labels: `task` and `variant` of every run.
        correct: for each of `KINDS`, by the run's index in `labels`: which of its task's E examples are answered
            correctly.

    Returns:
        One line per task and variant. `share_of_gain` is the hard prompts' gain over no prompt divided by the tuned
        prompts' gain, with a 95% interval that resamples runs and examples. It is NaN unless the interval of the tuned
        prompts' gain lies above 0, because a ratio to almost nothing is meaningless.
    """
    lines = []
    for (task, variant), group in labels.groupby(["task", "variant"], sort=False):
        of_kind = {  # [R, E] each
            kind: np.stack([by_run[index] for index in group.index]).astype(float)
            for kind, by_run in correct.items()
        }
        hard_gain = of_kind["hard_prompt"] - of_kind["no_prompt"]
        tuned_gain = of_kind["tuned"] - of_kind["no_prompt"]
        has_gain = bootstrap_mean(tuned_gain)[0] > 0
        low, high = bootstrap_ratio(hard_gain, tuned_gain) if has_gain else (np.nan, np.nan)
        lines.append(
            {
                "task": task,
                "variant": variant,
                "runs": hard_gain.shape[0],
                "n": hard_gain.shape[1],
                **{kind: values.mean() for kind, values in of_kind.items()},
                "share_of_gain": hard_gain.mean() / tuned_gain.mean() if has_gain else np.nan,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(lines)
