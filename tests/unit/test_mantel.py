from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr

from softprompt.analysis.mantel import mantel_table


def mantel(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """The line of one measure and one gain."""
    (line,) = mantel_table({"measure": first}, {"gain": second}).to_dict("records")
    return line


def test_mantel_counts_relabellings_exactly():
    first = np.array([[0.0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [3, 5, 6, 0]])
    result = mantel(first, 10 * first + 7)
    # All six values differ, so only the identity of the 24 relabellings gives this correlation.
    assert result["spearman"] == pytest.approx(1.0) and result["pearson"] == pytest.approx(1.0)
    assert result["p"] == pytest.approx(1 / 24) == result["smallest_p"]
    assert result["pairs"] == 12


def test_mantel_s_correlation_is_scipy_s():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 4, 4))
    off = ~np.eye(4, dtype=bool)
    assert mantel(first, second)["spearman"] == pytest.approx(spearmanr(first[off], second[off]).statistic)
    assert 1 / 24 <= mantel(first, second)["p"] <= 1


def test_mantel_ignores_the_diagonal():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 4, 4))
    filled = first.copy()
    np.fill_diagonal(filled, np.nan)
    assert mantel(filled, second) == mantel(first, second)


def test_mantel_of_a_constant_is_nan():
    result = mantel(np.ones((3, 3)), np.arange(9.0).reshape(3, 3))
    assert np.isnan(result["spearman"]) and np.isnan(result["p"])


def test_more_than_seven_items_are_relabelled_at_random():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(9, 9))
    assert mantel(first, first)["p"] == pytest.approx(1 / 10_000) == mantel(first, first)["smallest_p"]
    assert mantel(first, generator.normal(size=(9, 9)))["p"] > 0.01


def symmetric(upper: list[float], m: int) -> np.ndarray:
    """The m×m matrix with these values above the diagonal, row by row, and below it."""
    matrix = np.zeros((m, m))
    matrix[np.triu_indices(m, 1)] = upper
    return matrix + matrix.T


def test_p_of_three_items_by_hand():
    """Relabelling three items permutes the three pairs in all six ways; ranks 1, 2, 3 correlate by ±1 and ±½."""
    table = mantel_table(
        {
            "same": symmetric([1, 2, 3], 3),
            "opposite": symmetric([3, 2, 1], 3),
            "near": symmetric([1, 3, 2], 3),
        },
        {"gain": symmetric([1, 2, 3], 3)},
    )
    assert table["spearman"].tolist() == pytest.approx([1, -1, 0.5])
    # |correlation| is 1 for two relabellings, ½ for four.
    assert table["p"].tolist() == pytest.approx([2 / 6, 2 / 6, 1])
    # The largest of the three: "near" has ±1 for two of the four relabellings for which the other two have ±½.
    assert table["p_adjusted"].tolist() == pytest.approx([4 / 6, 4 / 6, 1])


def test_values_that_differ_by_rounding_are_ties():
    first = symmetric([0.1 + 0.2, 0.3, 1], 3)
    second = symmetric([0.3, 0.1 + 0.2, 1], 3)
    assert mantel(first, second)["spearman"] == pytest.approx(1)
    assert mantel(first, second)["p"] == pytest.approx(2 / 6)


def test_the_correction_is_none_for_one_measure_and_at_most_bonferroni_s():
    generator = np.random.default_rng(0)
    for m in (5, 8):  # exact, sampled
        measures = {name: generator.normal(size=(m, m)) for name in "abcd"}
        gain = generator.normal(size=(m, m))
        table = mantel_table(measures, {"gain": gain})
        assert (table["p_adjusted"] >= table["p"] - 1e-12).all()
        assert (table["p_adjusted"] <= 4 * table["p"] + 1e-12).all()
        alone = mantel_table({"a": measures["a"]}, {"gain": gain})
        assert alone["p_adjusted"].tolist() == pytest.approx(alone["p"].tolist())
        assert alone["p"].iloc[0] == table["p"].iloc[0]
        copies = mantel_table({"a": measures["a"], "b": 2 * measures["a"]}, {"gain": gain})
        assert copies["p_adjusted"].tolist() == pytest.approx(alone["p"].tolist() * 2)


def test_a_constant_measure_does_not_count_as_tried():
    measure, gain = symmetric([1, 2, 3], 3), {"gain": symmetric([1, 2, 3], 3)}
    table = mantel_table({"constant": np.ones((3, 3)), "same": measure}, gain)
    assert table["p_adjusted"].tolist() == pytest.approx([np.nan, 2 / 6], nan_ok=True)
    assert mantel_table({"constant": np.ones((3, 3))}, gain)["p_adjusted"].isna().all()


def test_the_correction_over_measures_and_gains_is_a_loop_over_all_relabellings():
    generator = np.random.default_rng(1)
    measures = {name: generator.normal(size=(4, 4)) for name in "ab"}
    gains = {name: generator.normal(size=(4, 4)) for name in "xyz"}
    off = ~np.eye(4, dtype=bool)
    largest = []
    for labels in permutations(range(4)):
        relabelled = [matrix[np.ix_(labels, labels)][off] for matrix in measures.values()]
        rhos = [spearmanr(first, gain[off]).statistic for first in relabelled for gain in gains.values()]
        largest.append(max(map(abs, rhos)))
    table = mantel_table(measures, gains)
    assert list(zip(table["measure"], table["gain"], strict=True)) == [(m, g) for m in "ab" for g in "xyz"]
    for row in table.to_dict("records"):
        assert row["spearman"] == pytest.approx(
            spearmanr(measures[row["measure"]][off], gains[row["gain"]][off]).statistic
        )
        assert row["p_adjusted"] == np.mean([value >= abs(row["spearman"]) - 1e-9 for value in largest])
