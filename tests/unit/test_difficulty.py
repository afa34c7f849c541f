import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from softprompt.analysis.difficulty import difficulty_correlation, difficulty_table

PUBLISHED = [{"task": "cb", "source": "elsewhere", "median": 43.0, "maximum": 61.0}]


def test_median_maximum_and_delta_by_hand():
    zero_shot = {"cb": {"a": 10.0, "b": 40.0, "c": 20.0}, "rte": {"a": 50.0}}
    table = difficulty_table(zero_shot, pd.DataFrame({"variance_raw": [1.5]}, index=["cb"]), PUBLISHED)
    ours, published, other = table.to_dict("records")
    assert (ours["instructions"], ours["median"], ours["maximum"], ours["delta"]) == (3, 20, 40, 20)
    assert ours["variance_raw"] == 1.5
    assert (published["source"], published["delta"]) == ("elsewhere", 18)
    assert other["delta"] == 0 and np.isnan(other["variance_raw"])


def test_the_correlation_is_scipy_s_and_p_is_a_share_of_permutations():
    scores = {"a": 10.0, "b": 30.0, "c": 20.0, "d": 40.0}
    variance = pd.DataFrame({"variance_raw": [1.0, 3.0, 2.0, 4.0]}, index=list(scores))
    table = difficulty_table({task: {"x": score} for task, score in scores.items()}, variance, PUBLISHED)
    by_measure = difficulty_correlation(table).set_index("measure")
    assert (
        by_measure["spearman"]["median"]
        == pytest.approx(1.0)
        == spearmanr(list(scores.values()), variance["variance_raw"]).statistic
    )
    assert by_measure["p"]["median"] == pytest.approx(2 / 24)
    assert np.isnan(by_measure["spearman"]["delta"])  # constant: one instruction each
    assert by_measure["tasks"].tolist() == [4, 4, 4]


def test_two_tasks_are_too_few():
    table = difficulty_table(
        {"a": {"x": 1.0}, "b": {"x": 2.0}}, pd.DataFrame({"variance_raw": [1.0, 2.0]}, index=["a", "b"]), []
    )
    assert difficulty_correlation(table)["spearman"].isna().all()
