"""What a sweep shows about the claims on transfer, judged by rank accuracy.

By exact match no prompt can hurt a task whose score without a prompt is 0.
"""

import pandas as pd

from softprompt.analysis.transfer import LEVEL
from softprompt.report.formatting import format_interval
from softprompt.report.registry import Claim, Question, Verdict
from softprompt.report.transfer_grid import LABEL_MAP, RANK_ACCURACY

NEGLIGIBLE = 5.0  # points: if all intervals lie within, a claim that there are changes does not hold


def transfer_claims(table: pd.DataFrame, drawings: dict[str, str]) -> list[Claim]:
    """That a prompt can raise the score of another task, and that it can lower it; empty with one task.

    Args:
        table: what `transfer_grid` returns.
        drawings: by variant, the name of the figure of rank accuracy.
    """
    pairs = table[table["source"] != table["target"]]
    ranked = pairs[pairs["score"] == RANK_ACCURACY]
    if ranked.empty:
        return []
    # A pair that decides a claim, if there is one, because the largest change may be that of runs that differ much.
    raised, lowered = (ranked["remains"] & (sign * ranked["gain"] > 0) for sign in (1, -1))
    best = (ranked[raised] if raised.any() else ranked).nlargest(1, "gain").iloc[0]
    worst = (ranked[lowered] if lowered.any() else ranked).nsmallest(1, "gain").iloc[0]
    of_best, of_worst = drawings[best["variant"]], drawings[worst["variant"]]
    return [
        Claim(
            Question.TRANSFER,
            "A prompt can raise the score of another task.",
            _verdict(bool(raised.any()), bool((ranked["high"] < NEGLIGIBLE).all())),
            f"{_counted(raised, 'rises')} The largest {'of these' if raised.any() else 'gain'} is {describe_pair(best)} "
            f"(corrected p = {best['p_holm']:.2g}). {_label_map_of(best, pairs)}",
            of_best,
        ),
        Claim(
            Question.TRANSFER,
            "Transfer can hurt: a prompt can lower the score of another task.",
            _verdict(bool(lowered.any()), bool((ranked["low"] > -NEGLIGIBLE).all())),
            f"{_counted(lowered, 'falls')} The {_worst(lowered, worst)} is "
            f"{describe_pair(worst)} (corrected p = {worst['p_holm']:.2g}).",
            of_worst if of_worst != of_best else None,  # one figure for both
        ),
    ]


def _worst(lowered: "pd.Series[bool]", worst: "pd.Series[float]") -> str:
    if lowered.any():
        return "largest of these"
    return "largest loss" if worst["gain"] < 0 else "smallest gain"


def describe_pair(row: "pd.Series[float]") -> str:
    """`cb → rte from text, +12 points [+7, +19]`."""
    interval = format_interval(row["low"], row["high"])
    return f"{row['source']} → {row['target']} from {row['variant']}, {row['gain']:+z.0f} points {interval}"


def _verdict(shown: bool, excluded: bool) -> Verdict:
    return Verdict.HOLDS if shown else Verdict.FAILS if excluded else Verdict.OPEN


def _counted(which: "pd.Series[bool]", changes: str) -> str:
    return (
        f"Rank accuracy {changes} over no prompt for {which.sum()} of {len(which)} pairs of different tasks "
        f"(p < {LEVEL} after Holm's correction over these pairs)."
    )


def _label_map_of(best: "pd.Series[float]", pairs: pd.DataFrame) -> str:
    """Whether the answers behind the largest gain tell the target's labels apart."""
    same = pairs[["source", "target", "variant"]].eq(best[["source", "target", "variant"]]).all(axis=1)
    row = pairs[same & (pairs["score"] == LABEL_MAP)].iloc[0]
    apart = (
        "Its answers tell"
        if row["remains"] and row["gain"] > 0
        else "Corrected for the number of pairs, its answers are not shown to tell"
    )
    return (
        f"{apart} the target's labels apart: up to a label map {row['with_prompt']:.0%} are right, with a "
        f"constant label chosen in the same way {row['baseline']:.0%} (difference {row['gain']:+z.0f} points "
        f"{format_interval(row['low'], row['high'])})."
    )
