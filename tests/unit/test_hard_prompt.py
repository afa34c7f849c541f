import numpy as np
import pandas as pd

from softprompt.analysis.hard_prompt import KINDS, hard_prompt_table


def test_the_share_of_the_gain_by_hand():
    labels = pd.DataFrame({"task": ["cb"] * 2, "variant": ["text"] * 2})
    none, half, all_ = np.zeros(8, bool), np.arange(8) < 4, np.ones(8, bool)
    correct = {
        "no_prompt": {0: none, 1: none},
        "initial": {0: half, 1: half},
        "hard_prompt": {0: half, 1: none},
        "tuned": {0: all_, 1: all_},
    }
    (line,) = hard_prompt_table(labels, correct).to_dict("records")
    assert [line[kind] for kind in KINDS] == [0, 0.5, 0.25, 1]
    assert line["share_of_gain"] == 0.25 and 0 <= line["low"] < 0.25 < line["high"] <= 1


def test_without_a_gain_there_is_no_share_of_it():
    labels = pd.DataFrame({"task": ["cb"], "variant": ["text"]})
    correct = {kind: {0: np.arange(8) < 4} for kind in KINDS}
    (line,) = hard_prompt_table(labels, correct).to_dict("records")
    assert np.isnan([line["share_of_gain"], line["low"], line["high"]]).all()
