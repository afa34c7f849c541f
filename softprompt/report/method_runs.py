"""The runs of several methods in pairs with prompt tuning's."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from softprompt.analysis.method_pairs import Trained
from softprompt.analysis.scores import steps_to_reach
from softprompt.report.formatting import format_range
from softprompt.runs import Run
from softprompt.runs.identity import identity
from softprompt.study import METHODS, Study


def trained_runs(parts: list[Study], levels: Mapping[str, float]) -> list[Trained]:
    """What every run came to, by method.

    Args:
        levels: the exact match of each task whose first step is looked for.
    """
    all_runs = [run for part in parts for run in part.runs]
    names = dict(zip([run.path for run in all_runs], _method_names(all_runs), strict=True))
    trained = [
        Trained(
            task=label["task"],
            setting=_setting(run),
            seed=label["seed"],
            method=names[run.path],
            optimiser=run.settings.optim,
            exact_match=result["tuned"]["exact_match"],
            steps=steps_to_reach(curves.get_group(label["run"]), levels[label["task"]]),
        )
        for part in parts
        for curves in [part.learning_curves.groupby("run")]
        for run, result, label in zip(part.runs, part.results, part.labels.to_dict("records"), strict=True)
    ]
    return sorted(trained, key=lambda run: METHODS.index(run.method.split()[0]))


def _setting(run: Run) -> dict[str, Any]:
    """All that makes the run this run, but method, optimiser and seed."""
    return {
        key: value for key, value in identity(run.settings).items() if key not in ("method", "optim", "seed")
    }


def _method_names(runs: list[Run]) -> list[str]:
    """The name of each run's method, with those of its settings that differ between runs: `prefix hidden=512`."""
    methods = [asdict(run.settings.method) for run in runs]
    seen: dict[tuple[str, str], set[object]] = {}
    for method in methods:
        for key, value in method.items():
            seen.setdefault((method["name"], key), set()).add(value)
    return [
        " ".join(
            [
                method["name"],
                *(f"{key}={value}" for key, value in method.items() if len(seen[method["name"], key]) > 1),
            ]
        )
        for method in methods
    ]


def pair_findings(pairs: pd.DataFrame) -> Iterator[str]:
    """All methods of `method_pairs_table` in one sentence."""
    if pairs.empty:
        return
    of_methods = "; ".join(
        f"{row['method']}: fewer steps in {row['sooner']} of {row['pairs']} pairs, more in {row['later']} "
        f"(p={row['p_holm, steps']:.3f}), exact match {row['difference']:+z.1f} points (p={row['p_holm, difference']:.3f})"
        for row in pairs.to_dict("records")
    )
    without = f" {pairs['without'].sum()} runs have no such run." if pairs["without"].any() else ""
    yield (
        "Steps to the level and exact match, compared with prompt tuning's run of the same task, start and seed. "
        f"{of_methods}. p are by flipping the signs of {format_range(pairs['units'], '.0f')} pairs of task and seed, and are "
        f"corrected for {2 * len(pairs)} tests.{without}"
    )
