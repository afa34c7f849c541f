from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import spearmanr

from softprompt.analysis.difficulty import (
    difficulty_correlation,
    difficulty_table,
    published_correlation,
    study_of,
)
from softprompt.parsing import parse_analysis_settings
from softprompt.settings import AnalysisSettings
from tests.conftest import ROOT

PUBLISHED = [{"task": "cb", "source": "elsewhere", "median": 43.0, "maximum": 61.0, "printed_delta": None}]


def spread_of(norm_variance: list[float], mean_squared_distance: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": list("abcd")[: len(norm_variance)],
            "variant": "text",
            "space": "raw",
            "norm_variance": norm_variance,
            "mean_squared_distance": mean_squared_distance,
        }
    )


def test_median_maximum_and_delta_by_hand():
    zero_shot = {"cb": {"a": 10.0, "b": 40.0, "c": 20.0}, "rte": {"a": 50.0}}
    ours, published, other = difficulty_table(zero_shot, PUBLISHED).to_dict("records")
    assert (ours["instructions"], ours["median"], ours["maximum"], ours["delta"]) == (3, 20, 40, 20)
    assert (published["source"], published["delta"]) == ("elsewhere", 18)
    assert other["task"] == "rte" and other["delta"] == 0


def test_the_correlation_is_scipy_s_and_p_is_corrected_for_all_pairs():
    scores = {"a": 10.0, "b": 30.0, "c": 20.0, "d": 40.0}
    table = difficulty_table({task: {"x": score} for task, score in scores.items()}, [])
    correlation = difficulty_correlation(table, spread_of([1.0, 3.0, 2.0, 4.0], [5.0, 1.0, 3.0, 2.0]))
    of = correlation.set_index(["spread", "measure"])
    assert of["spearman"]["norm_variance", "median"] == pytest.approx(1.0)
    other = of.loc[("mean_squared_distance", "median")]
    assert other["spearman"] == pytest.approx(spearmanr([10, 30, 20, 40], [5, 1, 3, 2]).statistic)
    assert of["p"]["norm_variance", "median"] == pytest.approx(2 / 24)
    # Of the 24 relabellings, these two have a correlation of ±1 with the variance, and two more with the distance.
    assert of["adjusted_p"]["norm_variance", "median"] == pytest.approx(4 / 24)
    assert np.isnan(of["spearman"]["norm_variance", "delta"])  # constant: one instruction each
    assert correlation["tasks"].tolist() == [4] * 6


def test_a_variant_that_lacks_a_task_has_no_correlation():
    scores = {"a": 10.0, "b": 30.0, "c": 20.0, "d": 40.0}
    table = difficulty_table({task: {"x": score} for task, score in scores.items()}, [])
    spread = spread_of([1.0, 3.0, 2.0, 4.0], [5.0, 1.0, 3.0, 2.0])
    part = spread[:3].assign(variant="random")
    correlation = difficulty_correlation(table, pd.concat([spread, part]))
    of = correlation[correlation["measure"] == "median"].set_index("variant")["spearman"]
    assert of["random"].isna().all() and of["text"].notna().all()


def test_two_tasks_are_too_few():
    table = difficulty_table({"a": {"x": 1.0}, "b": {"x": 2.0}}, [])
    correlation = difficulty_correlation(table, spread_of([1.0, 2.0], [1.0, 2.0]))
    assert correlation[["spearman", "p", "adjusted_p"]].isna().all(axis=None)


def reference_study() -> AnalysisSettings:
    config = yaml.safe_load((ROOT / "conf/analyze.yaml").read_text())
    return parse_analysis_settings(
        {key: value for key, value in config.items() if key not in ("defaults", "hydra")} | {"sweep": "-"}
    )


def test_the_reference_study_s_tables_do_not_show_its_claim():
    """Variances 1.31, 3.5, 38.5, 3.8 with deltas 18 (printed: 8), 1, 12, 1 have the rank correlation −0.32 (+0.32)."""
    settings = reference_study()
    table = published_correlation(
        [asdict(line) for line in settings.published], [asdict(line) for line in settings.published_norms]
    )
    assert table["study"].tolist() == ["reference study"] * 2 and table["tasks"].tolist() == [4, 4]
    corrected, printed = table["spearman"]
    assert table["delta"].tolist() == ["maximum - median", "as printed"]
    assert corrected == pytest.approx(spearmanr([18, 1, 12, 1], [1.31, 3.5, 38.5, 3.8]).statistic)
    assert (round(corrected, 2), round(printed, 2)) == (-0.32, 0.32)
    assert table["p"].round(2).tolist() == [0.67, 0.67]


def test_only_figures_of_one_study_are_correlated():
    norms = [{"task": task, "source": "one, table 1", "variance": 1.0 + i} for i, task in enumerate("abc")]
    scores = [
        {"task": task, "source": "another", "median": 1.0, "maximum": 2.0 + i, "printed_delta": None}
        for i, task in enumerate("abc")
    ]
    assert published_correlation(scores, norms).empty
    same = [line | {"source": "one, table 2"} for line in scores]
    (line,) = published_correlation(same, norms).to_dict("records")  # nothing is misprinted
    assert line["spearman"] == pytest.approx(1) and line["p"] == pytest.approx(2 / 6)
    assert study_of("one, table 2") == "one" == study_of("one")
