import numpy as np
import pandas as pd
import torch

from softprompt.analysis.ablation import (
    EDITS,
    attribution_table,
    discretised_table,
    edited_prompts,
    kept_against_others,
)

PROMPT = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
START, NEAREST, MEAN = PROMPT * 10, PROMPT * 100, torch.tensor([7.0, 7.0])


def test_every_row_is_changed_in_every_way_and_no_other():
    changed = edited_prompts(PROMPT, START, NEAREST, MEAN)
    assert list(changed) == [(row, edit) for row in (0, 1) for edit in EDITS]
    assert changed[0, "dropped"].tolist() == [[2.0, 2.0]]
    assert changed[1, "as it started"].tolist() == [[1.0, 1.0], [20.0, 20.0]]
    assert changed[0, "nearest token"].tolist() == [[100.0, 100.0], [2.0, 2.0]]
    assert changed[1, "mean embedding"].tolist() == [[1.0, 1.0], [7.0, 7.0]]


def test_the_only_row_can_be_dropped():
    assert edited_prompts(PROMPT[:1], START[:1], NEAREST[:1], MEAN)[0, "dropped"].shape == (0, 2)


def test_costs_by_hand():
    whole = np.array([True, True, False, False]), np.array([0.0, 1.0, 2.0, 3.0])
    right = np.array([[True, True, False, False], [False, False, False, False]])
    loss = np.array([[0.0, 1.0, 2.0, 3.0], [4.0, 1.0, 2.0, 3.0]])
    table = attribution_table([(0, "dropped"), (1, "dropped")], whole, right, loss)
    assert table["loss_change"].tolist() == [0.0, 1.0]
    assert table["exact_match_change"].tolist() == [0.0, -50.0]


def changes(kept: list[list[bool]], cost: list[list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"task": "cb", "variant": "text", "edit": "dropped", "run": run, "row": row,
             "kept": kept[run][row], "loss_change": cost[run][row]}
            for run in range(len(kept))
            for row in range(len(kept[0]))
        ]
    )  # fmt: skip


def test_kept_rows_against_others_by_hand():
    kept = [[True, True, False, False]] * 3
    (row,) = kept_against_others(changes(kept, [[3.0, 1.0, 1.0, 0.0]] * 3)).to_dict("records")
    assert (row["kept_rows"], row["other_rows"]) == (6, 6)
    assert (row["kept"], row["others"], row["difference"]) == (2.0, 0.5, 1.5)
    assert np.isnan([row["low"], row["high"]]).all()  # two rows of a kind are too few for an interval


def test_a_shorter_prompt_s_missing_rows_are_of_neither_kind():
    table = pd.concat([changes([[True, False]], [[2.0, 1.0]]), changes([[True]], [[4.0]]).assign(run=1)])
    (row,) = kept_against_others(table).to_dict("records")
    assert (row["kept_rows"], row["other_rows"], row["kept"], row["others"]) == (2, 1, 3.0, 1.0)


def test_chance_is_seldom_taken_for_a_difference():
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(60):
        kept = np.tile(np.arange(15) < 6, (4, 1))
        cost = generator.normal(size=15) + 0.3 * generator.normal(
            size=(4, 15)
        )  # rows differ, their kinds do not
        (row,) = kept_against_others(changes(kept.tolist(), cost.tolist())).to_dict("records")
        found += row["low"] > 0 or row["high"] < 0
    assert found <= 12  # of 60, where 3 would be nominal and resampling six rows is a little sure of itself


def test_a_difference_in_every_row_and_run_has_an_interval_without_zero():
    generator = np.random.default_rng(0)
    kept = generator.random((4, 20)) < 0.5
    cost = kept + 0.1 * generator.normal(size=kept.shape)
    (row,) = kept_against_others(changes(kept.tolist(), cost.tolist())).to_dict("records")
    assert 0.8 < row["low"] < row["difference"] < row["high"] < 1.2


def test_where_all_rows_stayed_there_is_nothing_to_compare():
    (row,) = kept_against_others(changes([[True, True]] * 2, [[1.0, 2.0]] * 2)).to_dict("records")
    assert row["kept"] == 1.5 and np.isnan([row["others"], row["difference"], row["low"], row["high"]]).all()


def test_what_words_keep_of_the_gain_by_hand():
    labels = pd.DataFrame({"task": ["cb"] * 2, "variant": ["text"] * 2})
    none, half, all_ = np.zeros(8, bool), np.arange(8) < 4, np.ones(8, bool)
    answers = {"no_prompt": [none] * 2, "start": [half] * 2, "discretised": [half, none], "tuned": [all_] * 2}
    (row,) = discretised_table(labels, answers).to_dict("records")
    assert (row["no_prompt"], row["start"], row["discretised"], row["tuned"]) == (0, 0.5, 0.25, 1)
    assert row["share_of_gain"] == 0.25 and 0 <= row["low"] < 0.25 < row["high"] <= 1


def test_without_a_gain_there_is_no_share_of_it():
    labels = pd.DataFrame({"task": ["cb"], "variant": ["text"]})
    same = [np.arange(8) < 4]
    (row,) = discretised_table(
        labels, dict.fromkeys(("no_prompt", "start", "discretised", "tuned"), same)
    ).to_dict("records")
    assert np.isnan([row["share_of_gain"], row["low"], row["high"]]).all()
