"""What the report says about transfer, from made-up gains."""

import pandas as pd
import pytest

from softprompt.report.registry import Verdict
from softprompt.report.transfer_claims import transfer_claims
from softprompt.report.transfer_grid import LABEL_MAP, RANK_ACCURACY


def grid_of(gain: float, half_width: float, remains: bool, of_map: float = 0.0) -> pd.DataFrame:
    """Gains of a → b, between the two tasks' own gains of 50 points and a gain of 0 of b → a."""
    pairs = {("a", "a"): 50.0, ("a", "b"): gain, ("b", "a"): 0.0, ("b", "b"): 50.0}
    lines = []
    for score in (RANK_ACCURACY, LABEL_MAP):
        for (source, target), value in pairs.items():
            if score == LABEL_MAP and source != target:
                value = of_map
            lines.append(
                {"source": source, "target": target, "variant": "text", "score": score, "gain": value,
                 "low": value - half_width, "high": value + half_width, "p_holm": 0.01 if remains else 0.9,
                 "remains": remains and value != 0 and source != target, "with_prompt": 0.5 + value / 100,
                 "baseline": 0.5}
            )  # fmt: skip
    return pd.DataFrame(lines)


@pytest.mark.parametrize(
    ("gain", "half_width", "remains", "verdicts"),
    [
        (30, 10, True, (Verdict.HOLDS, Verdict.OPEN)),  # the other pair may lose up to 10
        (30, 4, True, (Verdict.HOLDS, Verdict.FAILS)),
        (-30, 4, True, (Verdict.FAILS, Verdict.HOLDS)),
        (30, 40, False, (Verdict.OPEN, Verdict.OPEN)),
        (1, 3, False, (Verdict.FAILS, Verdict.FAILS)),  # all intervals lie within 5 points
    ],
)
def test_verdicts(gain: float, half_width: float, remains: bool, verdicts: tuple[Verdict, Verdict]) -> None:
    claims = transfer_claims(grid_of(gain, half_width, remains), {"text": "transfer_rank"})
    assert tuple(claim.verdict for claim in claims) == verdicts
    assert [claim.drawing for claim in claims] == ["transfer_rank", None]  # one figure for both


def test_a_gain_by_shared_labels_is_not_taken_for_skill() -> None:
    drawings = {"text": "transfer_rank"}
    shared, skilled = (
        transfer_claims(grid_of(30, 10, True, of_map), drawings)[0].evidence for of_map in (0, 20)
    )
    assert "for 1 of 2 pairs" in shared and "a → b from text, +30 points [+20, +40]" in shared
    assert "are not shown to tell" in shared and "up to a label map 50% are right" in shared
    assert "Its answers tell" in skilled and "up to a label map 70% are right" in skilled


def test_one_task_has_no_claims() -> None:
    table = grid_of(0, 1, False)
    assert transfer_claims(table[(table["source"] == "a") & (table["target"] == "a")], {}) == []


@pytest.mark.parametrize(
    ("gain", "remains", "words"),
    [
        (3, False, "smallest gain is b → a"),
        (-3, False, "largest loss is a → b"),
        (-30, True, "largest of these is a → b"),
    ],
)
def test_a_gain_is_not_called_a_loss(gain: float, remains: bool, words: str) -> None:
    assert words in transfer_claims(grid_of(gain, 4, remains), {"text": "transfer_rank"})[1].evidence
