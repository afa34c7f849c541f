"""What a prompt learned on one task does for another (Su et al. 2022; the reference study, section 5.3)."""

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.statistics import bootstrap_mean


def transfer_table(
    sources: list[str], right: dict[str, Bool[np.ndarray, "R E"]], bare: dict[str, Bool[np.ndarray, "E"]]
) -> pd.DataFrame:
    """Change in exact match over no prompt, for every source task's prompts on every target task.

    Args:
        sources: the task that each of R prompts was trained on.
        right: by target task, which of its E examples each prompt answers rightly.
        bare: by target task, which of them the model answers rightly without a prompt.

    Returns:
        One row per source and target, with the mean over prompts and examples, and a 95% interval that
        resamples both, each example paired with its own answer without a prompt.
    """
    rows = []
    for target, answers in right.items():
        gain = answers.astype(float) - bare[target].astype(float)
        for source in dict.fromkeys(sources):
            own = gain[[name == source for name in sources]]
            # No prompt can lose more than what the model has right without one, nor gain more than the rest.
            low, high = bootstrap_mean(own, -bare[target].mean(), 1 - bare[target].mean())
            rows.append(
                {
                    "source": source,
                    "target": target,
                    "gain": own.mean(),
                    "low": low,
                    "high": high,
                    "exact_match": own.mean() + bare[target].mean(),
                    "no_prompt": bare[target].mean(),
                    "prompts": len(own),
                    "n": own.shape[1],
                }
            )
    return pd.DataFrame(rows)
