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


def mantel(first: Float[np.ndarray, "m m"], second: Float[np.ndarray, "m m"]) -> dict[str, float]:
    """Correlation of two matrices over the same m items, without their diagonals (Mantel 1967).

    Returns:
        `spearman` and `pearson` over all ordered pairs, whose number is `pairs`. `p` is the share of all m! relabellings
        of one matrix whose Spearman correlation is at least as far from 0. With more than seven items it is over the
        given labels and `SAMPLED` others. It is never below `smallest_p`. The correlations and p are NaN if either
        matrix is constant off its diagonal.
    """
    (row,) = mantel_table({"first": first}, second).to_dict("records")
    return {name: row[name] for name in ("smallest_p", "pairs", "spearman", "pearson", "p")}


def mantel_table(
    measures: Mapping[str, Float[np.ndarray, "m m"]], gain: Float[np.ndarray, "m m"]
) -> pd.DataFrame:
    """`mantel` of each of several measures with the same matrix, corrected for trying all of them.

    Args:
        measures: a matrix by the measure's name.
        gain: what they are correlated with, over the same m items.

    Returns:
        One line per measure: `measure`, what `mantel` returns, and `p_adjusted`: the share of relabellings whose largest
        |Spearman correlation| over all measures is at least this measure's. It is the single-step max-T procedure of
        Westfall and Young (1993): all measures have the same relabellings, so it takes into account that they are alike.
    """
    m = len(gain)
    off_diagonal = ~np.eye(m, dtype=bool)
    relabellings = min(factorial(m), SAMPLED + 1)
    lines, null = [], []  # null: of each measure, |correlation| by relabelling
    for name, matrix in measures.items():
        line = {"measure": name, "smallest_p": 1 / relabellings, "pairs": int(off_diagonal.sum())}
        line |= {"spearman": np.nan, "pearson": np.nan, "p": np.nan}
        first, second = rounded(matrix[off_diagonal]), rounded(gain[off_diagonal])  # [m·(m - 1)] each
        if np.ptp(first) > 0 and np.ptp(second) > 0:
            ranks = np.zeros((2, m, m))
            ranks[:, off_diagonal] = _standardised(first), _standardised(second)
            line["spearman"] = float((ranks[0] * ranks[1]).sum())
            line["pearson"] = float(np.corrcoef(first, second)[0, 1])
            test = permutation_test(
                (np.arange(m),),
                # ranks is an argument, because a closure would see its last value only.
                lambda labels, axis, ranks=ranks: _correlation(ranks, labels),
                permutation_type="pairings",
                alternative="greater",
                vectorized=True,
                n_resamples=SAMPLED,
                rng=0,  # the same relabellings for all measures
            )
            line["p"] = float(test.pvalue)
            null.append(test.null_distribution)
        lines.append(line)
    table = pd.DataFrame(lines)
    if not null:
        return table.assign(p_adjusted=np.nan)
    largest = np.max(null, axis=0)  # [relabellings]
    # A sample does not contain the given labels, which are one relabelling, too.
    given = relabellings - len(largest)
    adjusted = [
        (np.sum(largest >= round(abs(rho), DECIMALS)) + given) / relabellings for rho in table["spearman"]
    ]
    return table.assign(p_adjusted=np.where(table["spearman"].notna(), adjusted, np.nan))


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
