"""Transfer: what a prompt tuned on one task does on another (Su et al. 2022; the reference study, section 5.3)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.copies import first_of_each
from softprompt.analysis.intervals import mean_interval


def transfer_table(
    sources: Sequence[str],
    keys: Sequence[str],
    correct: dict[str, Bool[np.ndarray, "R E"]],
    correct_without_prompt: dict[str, Bool[np.ndarray, "E"]],
) -> pd.DataFrame:
    """Change in the share of correct answers over no prompt, for the prompts of every source task on every target task.

    Args:
        sources: the task that each of R prompts was tuned on.
        keys: what tells these prompts apart (`copies.prompt_key`). Copies count once.
        correct: by target task, which of its E examples each prompt answers correctly.
        correct_without_prompt: by target task, which of them the model answers correctly without a prompt.

    Returns:
        One line per source and target, whose `runs` have `distinct_runs` prompts: the mean over distinct prompts and examples, and its 95% interval for new prompts
        and examples. Each example is paired with its own answer without a prompt.
    """
    lines = []
    for target, of_prompts in correct.items():
        without_prompt = correct_without_prompt[target]
        gain = of_prompts.astype(float) - without_prompt.astype(float)  # [R, E]
        for source in dict.fromkeys(sources):
            indices = [index for index, name in enumerate(sources) if name == source]
            distinct = first_of_each([keys[index] for index in indices])
            source_gain = gain[[indices[position] for position in distinct]]  # [distinct runs, E]
            # A prompt can lose no more than the share that is correct without it, and gain no more than the rest.
            low, high = mean_interval(source_gain, -without_prompt.mean(), 1 - without_prompt.mean())
            lines.append(
                {
                    "source": source,
                    "target": target,
                    "gain": source_gain.mean(),
                    "low": low,
                    "high": high,
                    "with_prompt": source_gain.mean() + without_prompt.mean(),
                    "no_prompt": without_prompt.mean(),
                    "runs": len(indices),
                    "distinct_runs": len(distinct),
                    "n": source_gain.shape[1],
                }
            )
    return pd.DataFrame(lines)
