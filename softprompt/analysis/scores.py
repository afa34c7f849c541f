"""What every run scored, beside what no tuning scores, with an interval."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from scipy.stats import binomtest


def score_table(results: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row per run, from the contents of the `result.json` files.

    Scores are shares between 0 and 1. `low` and `high` are the 95% Wilson interval of the tuned exact match
    over the n validation examples; they do not cover what another seed would give.
    """
    rows = []
    for result in results:
        tuned, baselines = result["tuned"], result["baselines"]
        low, high = wilson_interval(tuned["exact_match"], tuned["n"])
        rows.append(
            {
                "task": result["task"],
                "init": result["init"],
                "seed": result["seed"],
                "majority": baselines["majority"],
                "no_prompt": baselines["no_prompt"]["exact_match"],
                "instruction": baselines["instruction"]["exact_match"],
                "tuned": tuned["exact_match"],
                "low": low,
                "high": high,
                "rank_accuracy": tuned["rank_accuracy"],
                "macro_f1": tuned["macro_f1"],
                "outside": tuned["outside"],
                "loss": tuned["loss"],
                "n": tuned["n"],
                "best_step": result["best_step"],
                "seconds": result["seconds"],
                "run": result["run"],
            }
        )
    return pd.DataFrame(rows).sort_values(["task", "init", "seed"], ignore_index=True)


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n independent examples (Wilson 1927)."""
    interval = binomtest(round(share * n), n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
