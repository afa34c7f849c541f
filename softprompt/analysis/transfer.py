"""Transfer: what a prompt tuned on one task does on another (Su et al. 2022; the reference study, section 5.3)."""

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.statistics import bootstrap_mean


def transfer_table(
    sources: list[str],
    correct: dict[str, Bool[np.ndarray, "R E"]],
    correct_without_prompt: dict[str, Bool[np.ndarray, "E"]],
) -> pd.DataFrame:
    """Change in the share of correct answers over no prompt, for the prompts of every source task on every target task.

    Args:
        sources: the task that each of R prompts was tuned on.
        correct: by target task, which of its E examples each prompt answers correctly.
        correct_without_prompt: by target task, which of them the model answers correctly without a prompt.

    Returns:
        One line per source and target: the mean over prompts and examples, and a 95% interval that resamples both. Each
        example is paired with its own answer without a prompt.
    """
    lines = []
    for target, of_prompts in correct.items():
        without_prompt = correct_without_prompt[target]
        gain = of_prompts.astype(float) - without_prompt.astype(float)  # [R, E]
        for source in dict.fromkeys(sources):
            source_gain = gain[[name == source for name in sources]]
            # A prompt can lose no more than the share that is correct without it, and gain no more than the rest.
            low, high = bootstrap_mean(source_gain, -without_prompt.mean(), 1 - without_prompt.mean())
            lines.append(
                {
                    "source": source,
                    "target": target,
                    "gain": source_gain.mean(),
                    "low": low,
                    "high": high,
                    "with_prompt": source_gain.mean() + without_prompt.mean(),
                    "no_prompt": without_prompt.mean(),
                    "runs": source_gain.shape[0],
                    "n": source_gain.shape[1],
                }
            )
    return pd.DataFrame(lines)
