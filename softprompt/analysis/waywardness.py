"""Waywardness: prompts that start from another task's instruction and solve their own task (Khashabi et al. 2022)."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from softprompt.analysis.intervals import interval_over_runs

OWN = "own instruction"


def start_kinds(
    tasks: Sequence[str], texts: Sequence[str | None], instructions: Mapping[str, str]
) -> list[str | None]:
    """What each run's initial text is.

    Args:
        tasks: the task of each run.
        texts: the text each run started from; None if it started from no text.
        instructions: by task, its instruction.

    Returns:
        `OWN` if it is the task's own instruction, the name of another task if it is that task's; else None.
    """
    of_text = {instruction: task for task, instruction in instructions.items()}
    owners = [None if text is None else of_text.get(text) for text in texts]
    return [
        OWN if text is not None and text == instructions.get(task) else owner
        for task, text, owner in zip(tasks, texts, owners, strict=True)
    ]


def share_among(tokens: Sequence[int], others: Collection[int]) -> float:
    """The share of tokens that are among some others."""
    return float(np.isin(tokens, list(others)).mean())


def waywardness_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs that started from another task's instruction beside those that started from their own.

    Args:
        runs: one line per run: `task`, `start` (a value of `start_kinds`), `exact_match`, `initial_exact_match`,
            `start_share` (share of the rows whose nearest token is a token of the start), `own_share` (of the own
            instruction), `own_share_before` (the same before tuning).

    Returns:
        One line per task and start: the number of runs, means over runs, and 95% intervals over runs for `exact_match` and
        `start_share`.
    """
    lines = []
    for (task, start), group in runs.groupby(["task", "start"], sort=False):
        line: dict[str, object] = {"task": task, "start": start, "runs": len(group)}
        for name in ("exact_match", "start_share"):
            line[name] = group[name].mean()
            line[f"{name}_low"], line[f"{name}_high"] = interval_over_runs(group[name].tolist())
        for name in ("initial_exact_match", "own_share", "own_share_before"):
            line[name] = group[name].mean()
        lines.append(line)
    return pd.DataFrame(lines)
