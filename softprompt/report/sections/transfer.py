"""What a prompt does for another task."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd

from softprompt.analysis.transfer import transfer_table
from softprompt.report.figures import heat_map
from softprompt.report.sections import Section, figure_name, interval
from softprompt.study import Study


def transfer(study: Study) -> Section:
    """Every prompt on every task."""
    table = transfer_grid(study)
    shown = table[table["score"] == "exact match"]
    drawings = {}
    for variant, own in shown.groupby("variant", sort=False):
        title = f"points of exact match over no prompt\n(from {variant}; * interval without 0)"
        drawings[figure_name("transfer", str(variant))] = heat_map(
            own, "gain", title, " points", "sure", diverging=True
        )
    return Section(
        "Transfer",
        "Every run's best prompt on every task's validation set, without training: change in exact match over no "
        "prompt, in points, mean over runs. The 95% interval resamples runs and examples (of one run, examples alone), "
        "each example paired with its own answer without a prompt. The table has the same for rank accuracy.",
        list(_findings(shown)),
        _digest(shown),
        drawings,
        {"transfer": table},
    )


@cache  # the correlation with similarity reads it, too
def transfer_grid(study: Study) -> pd.DataFrame:
    """Every prompt on every task: `transfer_table` in points, by start and by score."""
    grids = []
    for score in ("exact_match", "rank_correct"):
        for variant, own in study.labels.groupby("variant", sort=False):
            matrices = [study.prompts[index].matrix for index in own.index]
            tuned, bare = {}, {}
            for target in study.targets:
                nothing, *answers = study.answers([[m] for m in (matrices[0][:0], *matrices)], target)
                tuned[target] = np.concatenate([getattr(found, score) for found in answers])
                bare[target] = getattr(nothing, score)[0]
            grid = transfer_table(list(own["task"]), tuned, bare)
            grids.append(
                grid.assign(
                    variant=variant, score="exact match" if score == "exact_match" else "rank accuracy"
                )
            )
    table = pd.concat(grids, ignore_index=True)
    table[["gain", "low", "high"]] *= 100
    table["sure"] = (table["low"] > 0) | (table["high"] < 0)
    return table


def _findings(table: pd.DataFrame) -> Iterator[str]:
    others = table[table["source"] != table["target"]]
    for variant, own in others.groupby("variant", sort=False):
        best, worst = (found.iloc[0] for found in (own.nlargest(1, "gain"), own.nsmallest(1, "gain")))
        up, down = (own["low"] > 0).sum(), (own["high"] < 0).sum()
        told = _told(best) if best["gain"] == worst["gain"] else f"{_told(best)}; {_told(worst)}"
        yield (
            f"From {variant}: {told}. Of {len(own)} pairs of tasks {up} gain with an interval above 0, {down} lose "
            "with one below."
        )


def _told(row: "pd.Series[float]") -> str:
    return (
        f"{row['source']}'s prompt gives {row['target']} {row['gain']:+z.0f} points "
        f"{interval(row['low'], row['high'])}"
    )


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    """For each target what its own prompt gains, and the best of the others'."""
    rows = []
    for (variant, target), own in table.groupby(["variant", "target"], sort=False):
        row = {"target": target, "from": variant, "n": own["n"].iloc[0]}
        for kind, found in (
            ("its own prompt", own[own["source"] == target]),
            ("best other", own[own["source"] != target].nlargest(1, "gain")),
            ("worst other", own[own["source"] != target].nsmallest(1, "gain")),
        ):
            for cell in found.to_dict("records"):
                name = "" if kind == "its own prompt" else f"{cell['source']} "
                row[kind] = f"{name}{cell['gain']:+z.0f} {interval(cell['low'], cell['high'])}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("–")
