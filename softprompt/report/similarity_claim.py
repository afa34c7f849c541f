"""What a sweep shows about the claim that the similarity of prompts predicts transfer."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from softprompt.report.registry import Claim, Question, Verdict

LEVEL = 0.05
# With fewer tasks a missing correlation says little: with four, only the strongest of 24 relabellings reaches the level.
ENOUGH_TASKS = 6
NO_CORRELATION = 0.3  # |rank correlation| below which a test without a finding counts as none


def similarity_claim(own: pd.DataFrame, others: pd.DataFrame, drawing: str | None) -> Claim | None:
    """The claim; None if the correlation of the reference study's own measure is not defined.

    It holds by any measure, because the corrected p takes all of them into account.

    Args:
        own: the lines of similarity_correlation.csv with that measure, one per variant and gain.
        others: the lines with other measures.
        drawing: the name of the figure.
    """
    known, other = own[own["spearman"].notna()], others[others["spearman"].notna()]
    if known.empty:
        return None
    return Claim(
        Question.TRANSFER,
        "The similarity of two tasks' prompts predicts transfer between them (the reference study found that it does not).",
        _verdict(known, other),
        _evidence(known, other),
        drawing,
    )


def hits_of(row: Mapping[Hashable, Any]) -> str:
    """`2 of 4, by chance 1.3`."""
    return f"{row['most_similar_is_best']} of {row['targets']}, by chance {row['expected_by_chance']:.1f}"


def _is_significant(lines: pd.DataFrame, variants: int) -> "pd.Series[bool]":
    """Corrected for the number of initialisations, too (Bonferroni)."""
    return lines["p_adjusted"] * variants <= LEVEL


def _verdict(own: pd.DataFrame, others: pd.DataFrame) -> Verdict:
    """From any initialisation, by any measure and with either gain."""
    lines = pd.concat([own, others])
    significant = _is_significant(lines, own["variant"].nunique())
    if (significant & (lines["spearman"] > 0)).any():
        return Verdict.HOLDS
    absent = (own["targets"] >= ENOUGH_TASKS) & (own["p"] > LEVEL) & (own["spearman"].abs() < NO_CORRELATION)
    return Verdict.FAILS if significant.any() or absent.all() else Verdict.OPEN


def _evidence(own: pd.DataFrame, others: pd.DataFrame) -> str:
    lines = [
        f"from {row['variant']} and with the gain in {row['gain']} {row['spearman']:+.2f} (p = {row['p']:.2f}, corrected "
        f"{row['p_adjusted']:.2f}; the most similar task is the best source for {hits_of(row)})"
        for row in own.to_dict("records")
    ]
    tasks, smallest = own["targets"].min(), own["smallest_p"].max()
    evidence = (
        f"Rank correlation of transfer with the negative Frobenius distance (raw): {'; '.join(lines)}. "
        f"The correction is for trying {(len(own) + len(others)) // own['variant'].nunique()} pairs of measure and gain."
    )
    found = others[_is_significant(others, own["variant"].nunique())]
    if not found.empty:
        best = found.sort_values("spearman", key=abs).iloc[-1]
        gains = ", ".join(
            f"{count} with the gain in {gain}" for gain, count in found["gain"].value_counts().items()
        )
        evidence += (
            f" {len(found)} of the {len(others)} pairs with other measures remain after this correction and that for the "
            f"initialisations ({gains}); the strongest is {best['measure']} ({best['space']}) from {best['variant']}, "
            f"{best['spearman']:+.2f} with the gain in {best['gain']} (corrected p = {best['p_adjusted']:.2g})."
        )
    if tasks < ENOUGH_TASKS:
        evidence += (
            f" With {tasks} tasks no p can be below {smallest:.2g}, so a correlation could hardly be shown."
        )
    return evidence
