"""Do reading methods recover the words that the model was taught?"""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from softprompt.report.formatting import format_interval
from softprompt.report.registry import Claim, Question, Verdict

ANY_WORD, INSTRUCTION_WORD = "any word", "instruction words"  # what is shuffled
LEVEL = 0.05


def readings_claim(table: pd.DataFrame, random_starts: Collection[str], drawing: str | None) -> Claim:
    """The claim, judged by prompts that started from random rows: others begin with words of the instruction.

    A reading recovers a task's words if after correction it is above chance among instruction words, and above the same
    reading of the untrained prompts. The claim holds if a reading does so on most tasks. It fails if no reading is above chance
    among instruction words on any task.

    Args:
        table: lines of `readings_table`, of the taught words.
        random_starts: the variants that started from no tokens.
        drawing: the name of the figure.
    """
    says = "Reading methods recover the words that the model was taught."
    lines = table[table["variant"].isin(list(random_starts))]
    if lines.empty:
        return Claim(Question.TOKENS, says, Verdict.OPEN, "No runs started from random rows.", drawing)
    lines = lines.assign(above=lines[f"p_holm, {INSTRUCTION_WORD}"] < LEVEL)
    lines = lines.assign(recovered=lines["above"] & (lines["difference_low"] > 0))
    by_reading = lines.groupby(["variant", "reading"], sort=False)[["recovered", "found"]].mean()
    # Of readings that recover the words of equally many tasks, the one that finds most words.
    variant, reading = by_reading.sort_values(["recovered", "found"], ascending=False, kind="stable").index[0]
    best = lines[(lines["variant"] == variant) & (lines["reading"] == reading)]
    if best["recovered"].mean() > 0.5:
        verdict = Verdict.HOLDS
    else:
        verdict = Verdict.OPEN if lines["above"].any() else Verdict.FAILS
    tasks = "; ".join(_of_task(line) for line in best.to_dict("records"))
    return Claim(
        Question.TOKENS,
        says,
        verdict,
        f"The best reading, from {variant}, is “{reading}”. Precision: {tasks}. After correction for the number of readings "
        f"it is above instruction words and above untrained prompts on {best['recovered'].sum()} of {len(best)} tasks "
        f"({best['runs'].min()} runs or more). Some reading is above instruction words on "
        f"{lines[lines['above']]['task'].nunique()} of {lines['task'].nunique()} tasks.",
        drawing,
    )


def _of_task(line: Mapping[Any, Any]) -> str:
    low, high = line["low"], line["high"]
    interval = f" {format_interval(100 * low, 100 * high, '.0f')}" if low == low else ""
    return (
        f"{line['task']} {line['precision']:.0%}{interval}, untrained {line['initial']:.0%}, chance "
        f"{line[f'chance, {ANY_WORD}']:.0%} (among instruction words {line[f'chance, {INSTRUCTION_WORD}']:.0%}, "
        f"p = {line[f'p_holm, {INSTRUCTION_WORD}']:.2g})"
    )
