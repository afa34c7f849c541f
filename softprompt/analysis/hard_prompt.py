"""Hard prompts: how much of a tuned prompt's gain is left when every row is replaced by its nearest token.

Khashabi et al. (2022) project prompts in this way. A random text may score well, too: 50% on a task with two classes if it
makes the model answer at all. So random texts of the same length are the null.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from softprompt.analysis.copies import first_of_each
from softprompt.analysis.intervals import mean_interval, ratio_interval
from softprompt.analysis.random_prompts import named_generator

KINDS = ("no_prompt", "initial", "hard_prompt", "tuned")
TEXTS = 20  # random texts per task


def random_texts(tokens: Sequence[int], length: int, name: str, texts: int = TEXTS) -> list[list[int]]:
    """Texts of ordinary tokens, drawn at random.

    Args:
        tokens: the ordinary token ids of the vocabulary.
        length: of each text. Its tokens are distinct, if there are so many. A shorter text is the beginning of a longer
            one.
        name: of the random numbers (`named_generator`).
        texts: how many.
    """
    generator = named_generator(name)
    # A permutation does not depend on the length.
    orders = [torch.randperm(len(tokens), generator=generator).tolist() for _ in range(texts)]
    return [[tokens[order[position % len(order)]] for position in range(length)] for order in orders]


def hard_prompt_table(
    labels: pd.DataFrame,
    correct: Mapping[str, Mapping[int, Bool[np.ndarray, "E"]]],
    of_random_texts: Mapping[int, Bool[np.ndarray, "P E"]],
    keys: Sequence[str],
) -> pd.DataFrame:
    """The score of the hard prompts beside that of the other prompts.

    Args:
        labels: `task` and `variant` of every run, and `reads_as_start`: are the nearest tokens of all its rows the tokens
            that these started from?
        correct: for each of `KINDS`, by the run's index in `labels`: which of its task's E examples are answered
            correctly.
        of_random_texts: by the run's index, the same for P random texts of its length.
        keys: by the run's index in `labels`, what tells its tuned prompt from others (`copies.prompt_key`). Copies count
            once.

    Returns:
        One line per task and variant, whose `runs` have `distinct_runs` tuned prompts, of which `read_as_start` read as
        their start. `random_text` is the mean score of the random texts, `random_text_high` the 97.5% quantile over them.

        `share_of_gain` is the hard prompts' gain over no prompt divided by the tuned prompts' gain, with a 95% interval for
        new runs on new examples. `share_of_learned` (with `learned_low` and `learned_high`) is the same with the initial
        prompts in the place of no prompt: how much of what tuning added is in the nearest tokens. Each is NaN unless the
        interval of the tuned prompts' gain lies above 0, because a ratio to almost nothing is meaningless.
    """
    lines = []
    for (task, variant), group in labels.groupby(["task", "variant"], sort=False):
        indices = list(group.index)
        distinct = [indices[position] for position in first_of_each([keys[index] for index in indices])]
        of_kind = {  # [R, E] each
            kind: np.stack([by_run[index] for index in distinct]).astype(float)
            for kind, by_run in correct.items()
        }
        by_text = np.stack([of_random_texts[index] for index in distinct]).mean((0, 2))  # [R, P, E] -> [P]
        share, low, high = _share(of_kind, "no_prompt")
        learned, learned_low, learned_high = _share(of_kind, "initial")
        lines.append(
            {
                "task": task,
                "variant": variant,
                "runs": len(indices),
                "distinct_runs": len(distinct),
                "read_as_start": int(labels["reads_as_start"][distinct].sum()),
                "n": of_kind["tuned"].shape[1],
                **{kind: values.mean() for kind, values in of_kind.items()},
                "random_text": by_text.mean(),
                "random_text_high": np.quantile(by_text, 0.975),
                "share_of_gain": share,
                "low": low,
                "high": high,
                "share_of_learned": learned,
                "learned_low": learned_low,
                "learned_high": learned_high,
            }
        )
    return pd.DataFrame(lines)


def _share(of_kind: Mapping[str, Float[np.ndarray, "R E"]], base: str) -> tuple[float, float, float]:
    """The hard prompts' gain over a kind of prompt divided by the tuned prompts' gain, and its interval."""
    hard_gain, tuned_gain = (of_kind[kind] - of_kind[base] for kind in ("hard_prompt", "tuned"))
    # A prompt can lose no more than the share that is correct without it, and gain no more than the rest.
    without = of_kind[base].mean()
    if not mean_interval(tuned_gain, -without, 1 - without)[0] > 0:
        return np.nan, np.nan, np.nan
    low, high = ratio_interval(hard_gain, tuned_gain)
    return float(hard_gain.mean() / tuned_gain.mean()), low, high
