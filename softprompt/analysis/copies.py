"""Runs whose prompts are copies of each other, such as runs that kept the same initial prompt.

Copies answer alike because they are one prompt. Counted as several, they would make prompts seem to vary little.
"""

from collections.abc import Sequence

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from softprompt.files import sha256


def prompt_key(prompt: Float[Tensor, "_ d"]) -> str:
    """A hash of the prompt's shape and bytes, so that exactly equal prompts have the same key."""
    return sha256(repr(tuple(prompt.shape)).encode() + prompt.numpy().tobytes())


def first_of_each(keys: Sequence[str]) -> list[int]:
    """The position of the first run with each key, in order.

    By prompts and not by answers, because different prompts may answer everything alike.
    """
    first: dict[str, int] = {}
    for position, key in enumerate(keys):
        first.setdefault(key, position)
    return list(first.values())


def without_copies(labels: pd.DataFrame, prompts: Sequence[Float[Tensor, "_ d"]]) -> pd.DataFrame:
    """The lines of `labels` without those whose prompt is an exact copy of an earlier one of its task and variant.

    Args:
        labels: one line per prompt, with `task` and `variant`. The lines that stay keep their index.
        prompts: R matrices, in the order of the lines.
    """
    keys = labels[["task", "variant"]].assign(prompt=[prompt_key(prompt) for prompt in prompts])
    return labels[~keys.duplicated()]
