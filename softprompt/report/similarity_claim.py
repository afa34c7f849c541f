"""What a sweep shows about the claim that the similarity of prompts predicts transfer."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from softprompt.report.registry import Claim, Question, Verdict

LEVEL = 0.05
# With fewer tasks a missing correlation says little: with four, only the strongest of 24 relabellings reaches the level.
ENOUGH_TASKS = 6
NO_CORRELATION = 0.3  # |rank correlation| below which a test without a finding counts as none


def similarity_claim(own: pd.DataFrame, tried: int, drawing: str | None) -> Claim | None:
    """The claim, judged by the reference study's own measure; None if its correlation is not defined.

    Args:
        own: the lines of similarity_correlation.csv with that measure, one per variant and gain.
        tried: how many pairs of measure and gain the corrected p of a variant takes into account.
        drawing: the name of the figure.
    """
    known = own[own["spearman"].notna()]
    if known.empty:
        return None
    return Claim(
        Question.TRANSFER,
        "The similarity of two tasks' prompts predicts transfer between them (the reference study found that it does not).",
        _verdict(known),
        _evidence(known, tried),
        drawing,
    )


def hits_of(row: Mapping[Hashable, Any]) -> str:
    """`2 of 4, by chance 1.3`."""
    return f"{row['most_similar_is_best']} of {row['targets']}, by chance {row['expected_by_chance']:.1f}"


def _verdict(own: pd.DataFrame) -> Verdict:
    """From any initialisation and with either gain; corrected for the number of initialisations, too (Bonferroni)."""
    significant = own["p_adjusted"] * own["variant"].nunique() <= LEVEL
    if (significant & (own["spearman"] > 0)).any():
        return Verdict.HOLDS
    absent = (own["targets"] >= ENOUGH_TASKS) & (own["p"] > LEVEL) & (own["spearman"].abs() < NO_CORRELATION)
    return Verdict.FAILS if significant.any() or absent.all() else Verdict.OPEN


def _evidence(own: pd.DataFrame, tried: int) -> str:
    lines = [
        f"from {row['variant']} and with the gain in {row['gain']} {row['spearman']:+.2f} (p = {row['p']:.2f}, corrected "
        f"{row['p_adjusted']:.2f}; the most similar task is the best source for {hits_of(row)})"
        for row in own.to_dict("records")
    ]
    tasks, smallest = own["targets"].min(), own["smallest_p"].max()
    evidence = (
        f"Rank correlation of transfer with the negative Frobenius distance (raw): {'; '.join(lines)}. "
        f"The correction is for trying {tried} pairs of measure and gain."
    )
    if tasks < ENOUGH_TASKS:
        evidence += (
            f" With {tasks} tasks no p can be below {smallest:.2g}, so a correlation could hardly be shown."
        )
    return evidence
