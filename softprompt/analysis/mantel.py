"""Correlation of matrices over the same items, with permutation tests that relabel the items."""

from collections.abc import Mapping
from math import factorial

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import permutation_test, rankdata

from softprompt.analysis.rounding import rounded

SAMPLED = 9999  # more than 7! = 5,040: up to seven items, the test is exact
DECIMALS = 10  # of correlations that are compared


def mantel_table(
    measures: Mapping[str, Float[np.ndarray, "m m"]], gains: Mapping[str, Float[np.ndarray, "m m"]]
) -> pd.DataFrame:
    """Correlation of each of several measures with each of several gains, without their diagonals (Mantel 1967).

    Args:
        measures: a matrix by the measure's name.
        gains: what they are correlated with, by name, over the same m items.

    Returns:
        One line per `measure` and `gain`. `spearman` and `pearson` are over all ordered pairs, whose number is `pairs`.
        `p` is the share of all m! relabellings of the measure whose Spearman correlation is at least as far from 0. With
        more than seven items it is over the given labels and `SAMPLED` others. It is never below `smallest_p`. The
        correlations and p are NaN if either matrix is constant off its diagonal.

        `p_adjusted` is corrected for trying all lines: the share of relabellings whose largest |Spearman correlation|
        over all lines is at least this line's. It is the single-step max-T procedure of Westfall and Young (1993): all
        lines have the same relabellings, so it takes into account that measures are alike, and that gains are.
    """
    lines, null = [], []  # null: of each line, |correlation| by relabelling
    for measure, matrix in measures.items():
        for name, gain in gains.items():
            result, correlations = _mantel(matrix, gain)
            lines.append({"measure": measure, "gain": name, **result})
            if correlations is not None:
                null.append(correlations)
    table = pd.DataFrame(lines)
    if not null:
        return table.assign(p_adjusted=np.nan)
    largest = np.max(null, axis=0)  # [relabellings]
    relabellings = round(1 / table["smallest_p"].iloc[0])
    # A sample does not contain the given labels, which are one relabelling, too.
    given = relabellings - len(largest)
    adjusted = [
        (np.sum(largest >= round(abs(rho), DECIMALS)) + given) / relabellings for rho in table["spearman"]
    ]
    return table.assign(p_adjusted=np.where(table["spearman"].notna(), adjusted, np.nan))


def _mantel(
    measure: Float[np.ndarray, "m m"], gain: Float[np.ndarray, "m m"]
) -> tuple[dict[str, float], Float[np.ndarray, "b"] | None]:
    """A line of `mantel_table`, and |Spearman correlation| of every relabelling; None if a matrix is constant."""
    m = len(gain)
    off_diagonal = ~np.eye(m, dtype=bool)
    result = {"smallest_p": 1 / min(factorial(m), SAMPLED + 1), "pairs": int(off_diagonal.sum())}
    first, second = rounded(measure[off_diagonal]), rounded(gain[off_diagonal])  # [m·(m - 1)] each
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return {**result, "spearman": np.nan, "pearson": np.nan, "p": np.nan}, None
    ranks = np.zeros((2, m, m))
    ranks[:, off_diagonal] = _standardised(first), _standardised(second)
    test = permutation_test(
        (np.arange(m),),
        lambda labels, axis: _correlation(ranks, labels),
        permutation_type="pairings",
        alternative="greater",
        vectorized=True,
        n_resamples=SAMPLED,
        rng=0,  # the same relabellings for all pairs of matrices
    )
    result["spearman"] = float((ranks[0] * ranks[1]).sum())
    result["pearson"] = float(np.corrcoef(first, second)[0, 1])
    result["p"] = float(test.pvalue)
    return result, test.null_distribution


def _standardised(values: Float[np.ndarray, "_"]) -> Float[np.ndarray, "_"]:
    """Ranks with mean 0 and length 1, so that a correlation is a sum of products."""
    centred = rankdata(values) - (len(values) + 1) / 2
    standardised: Float[np.ndarray, "_"] = centred / np.linalg.norm(centred)
    return standardised


def _correlation(
    ranks: Float[np.ndarray, "2 m m"], labels: Int[np.ndarray, "*b m"]
) -> Float[np.ndarray, "*b"]:
    """|Spearman correlation| of the first matrix, relabelled, with the second; rounded, so that ties are ties."""
    relabelled = ranks[0][labels[..., :, None], labels[..., None, :]]  # [*b, m, m]
    return np.asarray(np.abs((relabelled * ranks[1]).sum((-2, -1))).round(DECIMALS))
