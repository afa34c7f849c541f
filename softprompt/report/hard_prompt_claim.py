"""Do the nearest tokens carry what a prompt learned?"""

from collections.abc import Iterator

import pandas as pd

from softprompt.report.formatting import format_range
from softprompt.report.registry import Claim, Question, Verdict

MOST, LITTLE = 0.8, 0.2  # of what was learned


def hard_prompt_claims(table: pd.DataFrame, ranked: pd.DataFrame, drawing: str | None) -> Iterator[Claim]:
    """The claim for each start, judged by exact match.

    It holds for a start if on every task where tuning added something the hard prompts score above 97.5% of random texts,
    and keep most of what tuning added, mean over tasks. It fails for a start if they keep little of it on most tasks.

    Args:
        table: lines of `hard_prompt_table`, of exact match.
        ranked: the same, of rank accuracy.
        drawing: the name of the figure.
    """
    for variant, group in table.groupby("variant", sort=False):
        verdict, words = _of_variant(group)
        yield Claim(
            Question.TOKENS,
            f"The nearest tokens carry what prompts from {variant} learned.",
            verdict,
            " ".join([words, *_ranked(ranked[ranked["variant"] == variant])]),
            drawing,
        )


def _of_variant(group: pd.DataFrame) -> tuple[Verdict, str]:
    """The verdict of one start, open if tuning added nothing to it, and the numbers."""
    words = (
        f"Hard prompts score {format_range(group['hard_prompt'])}, tuned prompts {format_range(group['tuned'])}, their "
        f"starts {format_range(group['initial'])}, random texts of the same length {format_range(group['random_text'])} "
        f"(97.5% quantile {format_range(group['random_text_high'])})."
    )
    copies = group[group["read_as_start"] == group["distinct_runs"]]
    if len(copies):
        words += f" On {len(copies)} of {len(group)} tasks the prompts read exactly as their start, "
        above = copies[copies["share_of_learned"].notna()]
        if len(above):
            words += (
                f"which scores {format_range(above['initial'])} where tuning added to it (tuned "
                f"{format_range(above['tuned'])}, on {', '.join(above['task'])}): what was learned is not in the nearest tokens."
            )
        else:
            words += "and tuning is not shown to add to its score: there is nothing to read."
    learned = group.dropna(subset="share_of_learned")
    if learned.empty:
        return Verdict.OPEN, words if len(copies) else f"{words} Tuning is not shown to add anything."
    shares = learned["share_of_learned"]
    above_texts = learned["hard_prompt"] > learned["random_text_high"]
    words += (
        f" They keep {format_range(shares)} of what tuning added to the start (mean {shares.mean():.0%}, "
        f"{len(learned)} tasks), and beat 97.5% of the random texts on {above_texts.sum()} of {len(learned)} tasks."
    )
    if above_texts.all() and shares.mean() >= MOST:
        return Verdict.HOLDS, words
    return Verdict.FAILS if (shares < LITTLE).mean() > 0.5 else Verdict.OPEN, words


def _ranked(table: pd.DataFrame) -> Iterator[str]:
    """The part of exact match that is more than the answers' form, which any text may make the model write."""
    learned = table.dropna(subset="share_of_learned")
    if learned.empty:
        yield (
            f"Without a prompt the rank accuracy is {format_range(table['no_prompt'])}, and tuning is not shown to add to it: "
            "what it adds to exact match is that the model writes an answer."
        )
        return
    parts = ", ".join(
        f"{row['share_of_learned']:.0%} for {row['task']}" for row in learned.to_dict("records")
    )
    yield (
        "Rank accuracy does not count whether the model writes an answer at all. In it, hard prompts keep this share of what "
        f"tuning added: {parts}."
    )
    if len(learned) < len(table):
        yield "Elsewhere tuning is not shown to add any rank accuracy."
