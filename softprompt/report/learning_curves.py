"""The figure of learning curves."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.style import colour_of

PANELS_ACROSS = 4
FEW = 3  # variants whose legend leaves a panel readable


@rc_context(STYLE)
def learning_curves_figure(curves: pd.DataFrame, caption: str) -> Drawing:
    """Exact match by step, a panel per task: a thin line per run, a thick line for the mean of a variant's runs.

    Args:
        curves: rows of the runs' learning curves with `run`, `task` and `variant`, and the exact match of `no_prompt` and
            `instruction`.
        caption: of the figure.
    """
    tasks = list(dict.fromkeys(curves["task"]))
    columns = min(len(tasks), PANELS_ACROSS)
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(2.4 * columns + 0.6, 2.3 * rows + 0.2), layout="constrained")
    drawing = Drawing(figure, caption=caption)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colours = colour_of(list(curves["variant"]))
    first_step = curves.loc[curves["step"] > 0, "step"].min()
    for axis, task in zip(panels.flat, tasks, strict=False):
        of_task = curves[curves["task"] == task]
        for (variant, run), points in of_task.groupby(["variant", "run"], sort=False):
            (line,) = axis.plot(
                points["step"], points["exact_match"], color=colours[variant], alpha=0.35, lw=0.9
            )
            best, last_step = points["exact_match"].max(), points["step"].iloc[-1]
            drawing.tip(line, f"{run}: best {best:.1%}, stopped after {last_step:.0f} steps")
        for variant, points in of_task.groupby("variant", sort=False):
            # A run that has stopped keeps its last value in the mean.
            by_run = points.pivot(index="step", columns="run", values="exact_match").ffill()
            axis.plot(
                by_run.index, by_run.mean(axis=1), color=colours[variant], lw=2, label=f"from {variant}"
            )
        for name, style in (("no_prompt", ":"), ("instruction", "--")):
            axis.axhline(of_task[name].iloc[0], color="#555555", ls=style, lw=1, label=name.replace("_", " "))
        axis.set(title=task, ylim=(-0.02, 1.04))
        if np.isfinite(first_step):
            # Logarithmic from the first evaluated step on; step 0 stands left of it.
            axis.set_xscale("symlog", base=2, linthresh=first_step, linscale=0.6)
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_xticks([0, *_powers_of_4(float(first_step), float(curves["step"].max()))], minor=False)
    for axis in panels.flat[len(tasks) :]:
        axis.set_axis_off()
    for axis in panels[:, 0]:
        axis.set_ylabel("exact match")
    for axis in panels[-1]:
        axis.set_xlabel("step")
    lines, labels = panels.flat[len(tasks) - 1].get_legend_handles_labels()
    if len(colours) > FEW:
        figure.legend(lines, labels, loc="outside right center", fontsize=7)
    else:
        panels.flat[len(tasks) - 1].legend(lines, labels, loc="lower right", fontsize=7)
    return drawing


def _powers_of_4(first: float, last: float) -> Iterator[float]:
    """first, 4·first, 16·first, ... up to `last`."""
    while first <= last:
        yield first
        first *= 4
