"""Figures of the distances between the prompts of two tasks, and of similarity against transfer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.formatting import significant
from softprompt.report.heat_map import heat_map
from softprompt.report.style import INK, LINE, colour_of, marker_of


def distance_figure(
    tuned: pd.DataFrame, initial: pd.DataFrame, variant: str, alignment: str
) -> Drawing | None:
    """The mean distance of two prompts by their tasks; None if there is no pair of prompts.

    Args:
        tuned: what `similarity_table` returns for a Frobenius measure, so `similarity` is the negative distance.
        initial: the same for the prompts that the runs started from.
        variant: how these were initialised.
        alignment: how prompts of different length were compared.
    """
    table = tuned.assign(distance=-tuned["similarity"])
    if table["distance"].isna().all():
        return None
    drawing = heat_map(
        table,
        "distance",
        f"Mean distance of two prompts, raw\n({alignment}, from {variant})",
        label="‖A − B‖ / √rows",
        axes=("task", "task"),
    )
    parts = []
    for name, different in (("different tasks", True), ("one task", False)):
        means = [_mean_distance(of_kind, different) for of_kind in (tuned, initial)]
        if np.isfinite(means).all():
            parts.append(
                f"{significant(means[0])} if they are of {name} (their untrained starts: {significant(means[1])})"
            )
    drawing.caption = (
        f"The mean distance (raw) of two prompts initialised from {variant} is {' and '.join(parts)}."
    )
    return drawing


def _mean_distance(table: pd.DataFrame, different: bool) -> float:
    """The mean over pairs of runs of two different tasks, or of one task; NaN if there are none."""
    chosen = table[((table["source"] != table["target"]) == different) & table["similarity"].notna()]
    return float(-np.average(chosen["similarity"], weights=chosen["pairs"])) if len(chosen) else np.nan


@rc_context(STYLE)
def scatter_figure(
    pairs: pd.DataFrame, correlations: Sequence[Mapping[str, Any]], measure: str, variant: str
) -> Drawing:
    """A panel per gain, with a point per ordered pair of different tasks: coloured by source, shaped by target.

    Args:
        pairs: `source`, `target`, `similarity`, and a column of points per gain.
        correlations: for each gain its line of `mantel_table`.
        measure: how similarity was measured.
        variant: how the prompts were initialised.
    """
    figure = Figure(figsize=(3.4 * len(correlations) + 1.2, 3.2), layout="constrained")
    drawing = Drawing(figure)
    # By shape and colour, because labels at the points would cover each other.
    colours, markers = colour_of(list(pairs["source"])), marker_of(list(pairs["source"]))
    axes = figure.subplots(1, len(correlations), squeeze=False)[0]
    for axis, correlation in zip(axes, correlations, strict=True):
        gain = correlation["gain"]
        axis.axhline(0, color=LINE, lw=0.8)
        for row in pairs.to_dict("records"):
            source, target = row["source"], row["target"]
            point = axis.scatter(
                row["similarity"], row[gain], color=colours[source], marker=markers[target], s=36, alpha=0.8
            )
            drawing.tip(
                point,
                f"{source} → {target}: similarity {row['similarity']:.4g}, gain in {gain} {row[gain]:+.1f} points",
            )
        axis.set(
            title=f"Gain in {gain}", xlabel=f"similarity: {measure}", ylabel="gain over no prompt, points"
        )
        axis.margins(0.1)
    handles = [
        Line2D([], [], color=colours[task], marker="s", ls="", label=f"from {task}") for task in colours
    ]
    handles += [
        Line2D([], [], color=INK, marker=markers[task], ls="", label=f"to {task}") for task in markers
    ]
    figure.legend(handles=handles, loc="outside right upper")
    parts = [
        f"{correlation['spearman']:+.2f} with the gain in {correlation['gain']} (p = {correlation['p']:.2f})"
        if np.isfinite(correlation["spearman"])
        else f"not defined with the gain in {correlation['gain']}, because all pairs are alike"
        for correlation in correlations
    ]
    drawing.caption = (
        f"For {len(pairs)} pairs of different tasks and prompts initialised from {variant}, the rank correlation of "
        f"similarity ({measure}) is {' and '.join(parts)}."
    )
    return drawing
