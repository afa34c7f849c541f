"""Runs of other methods beside prompt tuning's run of the same task, start and seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from softprompt.analysis.holm import holm
from softprompt.analysis.sign_flips import sign_flip_p


@dataclass(frozen=True)
class Trained:
    """What a run came to.

    `method` names it; `setting` is all else that a run and its partner have in common, but task and seed: start, data,
    epochs. `setting` and `optimiser` are whatever tells them apart. `steps` is the first evaluated step at the task's
    level; infinite if the run did not reach it. `exact_match` is a share.
    """

    task: str
    setting: object
    seed: int
    method: str
    optimiser: object
    exact_match: float
    steps: float


def method_pairs_table(runs: Sequence[Trained], reference: str = "prompt") -> pd.DataFrame:
    """Each method against the reference, in pairs of runs with the same task, setting and seed.

    If the reference has several runs there (a sweep over learning rates), the one with the same optimiser is taken.

    Returns:
        One line per method that has pairs. `without`: its runs that have no partner. `sooner`, `later`: pairs in which the
        method takes fewer or more steps to the level; `difference`: its exact match less the reference's in points, mean
        over the units. `p, steps`
        and `p, difference` are two-sided, by flipping the signs of the units; a unit is a task with a seed, and its value
        the mean over its pairs. `p_holm, ...` are corrected over all p of the table.
    """
    lines = []
    for method in dict.fromkeys(run.method for run in runs):
        if method == reference:
            continue
        pairs = [(run, _partner(run, runs, reference)) for run in runs if run.method == method]
        found = [(run, partner) for run, partner in pairs if partner is not None]
        if not found:
            continue
        units: dict[tuple[str, int], list[tuple[int, float]]] = {}
        for run, partner in found:
            sign = int(run.steps < partner.steps) - int(run.steps > partner.steps)
            difference = 100 * (run.exact_match - partner.exact_match)
            units.setdefault((run.task, run.seed), []).append((sign, difference))
        values = np.array([np.mean(unit, axis=0) for unit in units.values()])  # [units, 2]
        signs = [sign for unit in units.values() for sign, _ in unit]
        lines.append(
            {
                "method": method,
                "pairs": len(found),
                "without": len(pairs) - len(found),
                "units": len(units),
                "sooner": signs.count(1),
                "later": signs.count(-1),
                "p, steps": sign_flip_p(values[:, 0]),
                "difference": float(values[:, 1].mean()),
                "p, difference": sign_flip_p(values[:, 1]),
            }
        )
    table = pd.DataFrame(lines)
    if lines:
        corrected = holm([*table["p, steps"], *table["p, difference"]])
        table["p_holm, steps"], table["p_holm, difference"] = corrected[: len(table)], corrected[len(table) :]
    return table


def _partner(run: Trained, runs: Sequence[Trained], reference: str) -> Trained | None:
    """The reference's run to compare with; None if there is not exactly one."""
    beside = [
        other
        for other in runs
        if other.method == reference
        and (other.task, other.setting, other.seed) == (run.task, run.setting, run.seed)
    ]
    if len(beside) > 1:
        beside = [other for other in beside if other.optimiser == run.optimiser]
    return beside[0] if len(beside) == 1 else None
