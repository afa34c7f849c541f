"""Transfer: what a prompt tuned on one task does on another (Su et al. 2022; the reference study, section 5.3)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.copies import first_of_each
from softprompt.analysis.holm import holm
from softprompt.analysis.intervals import mean_interval, p_of_mean

LEVEL = 0.05  # of corrected p


def transfer_table(
    sources: Sequence[str],
    keys: Sequence[str],
    correct: Mapping[str, Bool[np.ndarray, "R E"]],
    correct_at_baseline: Mapping[str, Bool[np.ndarray, "E"]],
    ceilings: Mapping[str, float],
) -> pd.DataFrame:
    """Change in the share of correct answers over a baseline, for the prompts of every source task on every target task.

    Args:
        sources: the task that each of R prompts was tuned on.
        keys: what tells these prompts apart (`copies.prompt_key`). Copies count once.
        correct: by target task, which of its E examples each prompt answers correctly.
        correct_at_baseline: by target task, which of them are correct without these prompts.
        ceilings: by target task, the largest share that any prompt can answer correctly, above 0; 1.0 if it is not here.

    Returns:
        One line per source and target, whose `runs` have `distinct_runs` prompts. `gain` is the mean over distinct
        prompts and examples, with its 95% interval for new prompts and examples, and the `p` of `p_of_mean`. Each example
        is paired with its own answer at the baseline. `share_of_possible` is the gain as a share of what can be gained,
        `ceiling` - `baseline`; NaN if that is nothing. All are shares between -1 and 1.
    """
    lines = []
    for target, of_prompts in correct.items():
        at_baseline = correct_at_baseline[target]
        baseline, ceiling = float(at_baseline.mean()), ceilings.get(target, 1.0)
        gain = of_prompts.astype(float) - at_baseline.astype(float)  # [R, E]
        for source in dict.fromkeys(sources):
            indices = [index for index, name in enumerate(sources) if name == source]
            distinct = first_of_each([keys[index] for index in indices])
            source_gain = gain[[indices[position] for position in distinct]]  # [distinct runs, E]
            with_prompt = float(source_gain.mean()) + baseline
            # A prompt can lose no more than the share that is correct without it, and gain no more than what is left. The
            # ceiling is that of new examples, so these examples may have more.
            low, high = mean_interval(source_gain, -baseline, max(ceiling, with_prompt) - baseline)
            possible = ceiling - baseline
            lines.append(
                {
                    "source": source,
                    "target": target,
                    "gain": source_gain.mean(),
                    "low": low,
                    "high": high,
                    "p": p_of_mean(source_gain),
                    "with_prompt": with_prompt,
                    "baseline": baseline,
                    "ceiling": ceiling,
                    "share_of_possible": source_gain.mean() / possible if possible > 0 else np.nan,
                    "runs": len(indices),
                    "distinct_runs": len(distinct),
                    "n": source_gain.shape[1],
                }
            )
    return pd.DataFrame(lines)


def corrected_over_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """A transfer table with `p_holm`: p corrected over all its pairs of different tasks (Holm 1979); else NaN.

    `remains` is true where it is below `LEVEL`.
    """
    different = table["source"] != table["target"]
    corrected = np.full(len(table), np.nan)
    corrected[different.to_numpy()] = holm(list(table.loc[different, "p"]))
    return table.assign(p_holm=corrected, remains=corrected < LEVEL)
