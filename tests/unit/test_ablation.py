import numpy as np
import pandas as pd
import pytest
import torch

from softprompt.analysis.ablation import (
    EDITS,
    ablation_table,
    edited_prompts,
    kept_vs_others_table,
    without_negligible_rows,
)
from softprompt.report.ablation_claim import ablation_claim
from softprompt.report.registry import Verdict

PROMPT = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
INITIAL, NEAREST, MEAN = PROMPT * 10, PROMPT * 100, torch.tensor([7.0, 7.0])


def test_each_edit_changes_one_row():
    edited = edited_prompts(PROMPT, INITIAL, NEAREST, MEAN)
    assert list(edited) == [(row, edit) for row in (0, 1) for edit in EDITS]
    assert edited[0, "dropped"].tolist() == [[2.0, 2.0]]
    assert edited[1, "initial row"].tolist() == [[1.0, 1.0], [20.0, 20.0]]
    assert edited[0, "nearest token"].tolist() == [[100.0, 100.0], [2.0, 2.0]]
    assert edited[1, "mean embedding"].tolist() == [[1.0, 1.0], [7.0, 7.0]]


def test_the_only_row_can_be_dropped():
    assert edited_prompts(PROMPT[:1], INITIAL[:1], NEAREST[:1], MEAN)[0, "dropped"].shape == (0, 2)


def test_changes_in_loss_and_exact_match_by_hand():
    unedited = np.array([True, True, False, False]), np.array([0.0, 1.0, 2.0, 3.0])
    correct = np.array([[True, True, False, False], [False, False, False, False]])
    loss = np.array([[0.0, 1.0, 2.0, 3.0], [4.0, 1.0, 2.0, 3.0]])
    table = ablation_table([(0, "dropped"), (1, "dropped")], unedited, correct, loss)
    assert table["loss_change"].tolist() == [0.0, 1.0]
    assert table["exact_match_change"].tolist() == [0.0, -50.0]


def ablations(kept: list[list[bool]], loss_change: list[list[float]]) -> pd.DataFrame:
    """What `ablation_table` returns for several runs, with one edit; both arguments by run and row."""
    return pd.DataFrame(
        [
            {"task": "cb", "variant": "text", "edit": "dropped", "run": run, "row": row,
             "kept": kept[run][row], "loss_change": loss_change[run][row]}
            for run in range(len(kept))
            for row in range(len(kept[0]))
        ]
    )  # fmt: skip


def test_kept_rows_vs_others_by_hand():
    kept = [[True, True, False, False]] * 3
    (line,) = kept_vs_others_table(ablations(kept, [[3.0, 1.0, 1.0, 0.0]] * 3)).to_dict("records")
    assert (line["kept_rows"], line["other_rows"]) == (6, 6)
    assert (line["kept_loss_change"], line["other_loss_change"], line["difference"]) == (2.0, 0.5, 1.5)
    assert np.isnan([line["low"], line["high"]]).all()  # two rows of a kind are too few for an interval


def test_rows_that_a_shorter_prompt_lacks_are_of_neither_kind():
    table = pd.concat([ablations([[True, False]], [[2.0, 1.0]]), ablations([[True]], [[4.0]]).assign(run=1)])
    (line,) = kept_vs_others_table(table).to_dict("records")
    assert (line["kept_rows"], line["other_rows"]) == (2, 1)
    assert (line["kept_loss_change"], line["other_loss_change"]) == (3.0, 1.0)


def test_intervals_seldom_exclude_0_without_a_difference():
    generator = np.random.default_rng(0)
    excluded = 0
    for _ in range(60):
        kept = np.tile(np.arange(15) < 6, (4, 1))
        # Rows differ, kept rows and others do not.
        loss_change = generator.normal(size=15) + 0.3 * generator.normal(size=(4, 15))
        (line,) = kept_vs_others_table(ablations(kept.tolist(), loss_change.tolist())).to_dict("records")
        excluded += line["low"] > 0 or line["high"] < 0
    assert excluded <= 12  # of 60; 3 would be nominal, and intervals from only six rows are too narrow


def test_the_interval_of_a_difference_in_every_row_and_run_excludes_0():
    generator = np.random.default_rng(0)
    kept = generator.random((4, 20)) < 0.5
    loss_change = kept + 0.1 * generator.normal(size=kept.shape)
    (line,) = kept_vs_others_table(ablations(kept.tolist(), loss_change.tolist())).to_dict("records")
    assert 0.8 < line["low"] < line["difference"] < line["high"] < 1.2


def test_if_all_rows_are_kept_there_is_no_difference():
    (line,) = kept_vs_others_table(ablations([[True, True]] * 2, [[1.0, 2.0]] * 2)).to_dict("records")
    assert line["kept_loss_change"] == 1.5
    assert np.isnan([line[name] for name in ("other_loss_change", "difference", "low", "high")]).all()


def test_rows_of_negligible_cost_are_dropped_together():
    costs = pd.DataFrame({"row": [0, 1], "loss_change": [0.5, 0.009]})
    assert without_negligible_rows(PROMPT, costs).tolist() == [[1.0, 1.0]]
    assert without_negligible_rows(PROMPT, costs.assign(loss_change=-1.0)).shape == (0, 2)
    assert torch.equal(without_negligible_rows(PROMPT, costs.assign(loss_change=0.01)), PROMPT)


def claims(cost_of_kept: float, cost_of_others: float, left: float, others: bool = True) -> list[Verdict]:
    """Three runs of twelve rows, the first six kept; `left` of the exact match without the rows of small cost."""
    kept = [[True] * 6 + [not others] * 6] * 3
    change = [[cost_of_kept] * 6 + [cost_of_others] * 6] * 3
    table = ablations(kept, change)
    runs = pd.DataFrame(
        {
            "task": "cb",
            "variant": "text",
            "rows": 12,
            "kept_rows": [sum(kept[0])] * 3,
            "dropped_rows": 6 * (cost_of_kept < 0.01) + 6 * (cost_of_others < 0.01),
            "dropped_kept_rows": 6 * (cost_of_kept < 0.01) + 6 * (not others and cost_of_others < 0.01),
            "exact_match": 1.0,
            "exact_match_left": left,
        }
    )
    return [claim.verdict for claim in ablation_claim(table, kept_vs_others_table(table), runs)]


@pytest.mark.parametrize(
    ("kept", "others", "left", "both", "verdict"),
    [
        (0.5, 0.001, 1.0, True, Verdict.HOLDS),
        (0.02, 0.5, 1.0, True, Verdict.FAILS),
        (0.5, 0.5, 1.0, True, Verdict.OPEN),
        (0.001, 0.0, 1.0, True, Verdict.FAILS),  # they cost more, and yet all of them can go
        (0.001, 0.001, 1.0, False, Verdict.FAILS),
        (0.001, 0.001, 0.0, False, Verdict.OPEN),  # all rows kept their token, and together they are needed
    ],
)
def test_the_verdict_compares_rows_and_drops_them_together(
    kept: float, others: float, left: float, both: bool, verdict: Verdict
) -> None:
    assert claims(kept, others, left, both) == [verdict]


def test_without_kept_rows_there_is_no_claim():
    table = ablations([[False, False]], [[1.0, 1.0]])
    runs = pd.DataFrame({"kept_rows": [0]})
    assert not list(ablation_claim(table, kept_vs_others_table(table), runs))
