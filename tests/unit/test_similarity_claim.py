"""What the report says about similarity and transfer, from made-up correlations."""

import numpy as np
import pandas as pd
import pytest

from softprompt.report.registry import Verdict
from softprompt.report.similarity_claim import similarity_claim
from softprompt.report.similarity_figures import distance_figure, scatter_figure


def own_of(tasks: int, *lines: tuple[str, float, float, float]) -> pd.DataFrame:
    """A line per variant, rank correlation, p and corrected p."""
    return pd.DataFrame(
        {"variant": variant, "gain": "exact match", "spearman": rho, "p": p, "p_adjusted": adjusted,
         "smallest_p": 1 / 24, "targets": tasks, "most_similar_is_best": 2, "expected_by_chance": 1.3}
        for variant, rho, p, adjusted in lines
    )  # fmt: skip


NONE = own_of(4).reindex(columns=own_of(4, ("text", 0.0, 1.0, 1.0)).columns)  # no other measures


@pytest.mark.parametrize(
    ("tasks", "lines", "verdict"),
    [
        (4, [("text", 0.1, 0.8, 1.0)], Verdict.OPEN),  # four tasks are too few to deny it
        (6, [("text", 0.1, 0.8, 1.0)], Verdict.FAILS),
        (6, [("text", 0.1, 0.8, 1.0), ("random", 0.5, 0.1, 0.4)], Verdict.OPEN),
        (6, [("text", 0.1, 0.8, 1.0), ("random", 0.7, 0.01, 0.02)], Verdict.HOLDS),
        (6, [("text", 0.1, 0.8, 1.0), ("random", 0.7, 0.01, 0.04)], Verdict.OPEN),  # two variants were tried
        (6, [("text", 0.7, 0.01, 0.04)], Verdict.HOLDS),
        (6, [("text", -0.7, 0.01, 0.04)], Verdict.FAILS),  # the less similar, the better
    ],
)
def test_verdicts(tasks: int, lines: list[tuple[str, float, float, float]], verdict: Verdict) -> None:
    claim = similarity_claim(own_of(tasks, *lines), NONE, "similarity_vs_transfer")
    assert claim is not None and claim.verdict == verdict
    assert ("no p can be below 0.042" in claim.evidence) == (tasks < 6)
    assert f"corrected {lines[0][3]:.2f};" in claim.evidence
    assert f"the best source for 2 of {tasks}, by chance 1.3" in claim.evidence


def test_a_constant_gain_has_no_claim() -> None:
    assert similarity_claim(own_of(4, ("text", np.nan, np.nan, np.nan)), NONE, None) is None


def test_another_measure_can_predict_what_the_study_s_own_does_not() -> None:
    own = own_of(12, ("text", 0.1, 0.5, 1.0), ("random", 0.1, 0.5, 1.0))
    others = own_of(12, ("text", 0.2, 0.1, 0.9), ("random", 0.5, 0.0001, 0.0002)).assign(
        measure="mean cosine", space="raw"
    )
    claim = similarity_claim(own, others, None)
    assert claim is not None and claim.verdict == Verdict.HOLDS
    assert "The correction is for trying 2 pairs" in claim.evidence
    assert "1 of the 2 pairs with other measures remain" in claim.evidence
    assert (
        "mean cosine (raw) from random, +0.50 with the gain in exact match (corrected p = 0.0002)"
        in claim.evidence
    )


def similarities(same: float, different: float) -> pd.DataFrame:
    """Two runs of task a, one of task b: within a one pair, counted twice; between them two in each direction."""
    return pd.DataFrame(
        {
            "source": list("aabb"),
            "target": list("abab"),
            "similarity": [same, different, different, np.nan],
            "pairs": [2, 2, 2, 0],
        }
    )


def test_the_map_has_plain_distances_beside_those_of_the_starts() -> None:
    drawing = distance_figure(similarities(-0.5, -2.0), similarities(0.0, -1.5), "text", "resample")
    assert drawing is not None
    assert drawing.caption == (
        "The mean distance (raw) of two prompts initialised from text is 2.00 if they are of different tasks (their "
        "untrained starts: 1.50) and 0.500 if they are of one task (their untrained starts: 0)."
    )
    assert {text.get_text() for text in drawing.figure.axes[0].texts} == {"0.500", "2.00", "–"}
    alone = pd.DataFrame({"source": ["a"], "target": ["a"], "similarity": [np.nan], "pairs": [0]})
    assert distance_figure(alone, alone, "text", "resample") is None


def test_a_panel_for_each_gain() -> None:
    pairs = (
        similarities(-0.5, -2.0).iloc[1:3].assign(**{"exact match": [1.0, 2.0], "rank accuracy": [-3.0, 0.0]})
    )
    lines = [
        {"gain": "exact match", "spearman": 0.5, "p": 0.25},
        {"gain": "rank accuracy", "spearman": np.nan, "p": np.nan},
    ]
    drawing = scatter_figure(pairs, lines, "frobenius", "text")
    assert [axis.get_title("left") for axis in drawing.figure.axes] == [
        "Gain in exact match",
        "Gain in rank accuracy",
    ]
    assert drawing.caption == (
        "For 2 pairs of different tasks and prompts initialised from text, the rank correlation of similarity (frobenius) "
        "is +0.50 with the gain in exact match (p = 0.25) and not defined with the gain in rank accuracy, because all pairs "
        "are alike."
    )
