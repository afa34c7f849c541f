"""The figure of exact match by the number of rows of a prompt."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.style import colour_of, marker_of

PANELS_ACROSS = 4
APART = 0.03  # of the logarithmic axis: points of different starts beside each other


@rc_context(STYLE)
def lengths_figure(table: pd.DataFrame, baselines: pd.DataFrame, caption: str) -> Drawing:
    """A panel per task, a line per start: exact match by rows, on a logarithmic axis.

    Args:
        table: what `length_table` returns.
        baselines: by task (its index), `no_prompt` and `instruction`, in percent.
        caption: of the figure.
    """
    tasks, starts = (list(dict.fromkeys(table[name])) for name in ("task", "start"))
    columns = min(len(tasks), PANELS_ACROSS)
    down = -(-len(tasks) // columns)
    figure = Figure(figsize=(2.9 * columns + 1.6, 2.6 * down + 0.2), layout="constrained")
    drawing = Drawing(figure, caption=caption)
    panels = figure.subplots(down, columns, sharex=True, sharey=True, squeeze=False)
    colours, markers = colour_of(starts), marker_of(starts)
    lengths = sorted(set(table["rows"]))
    width = APART * np.log(lengths[-1] / lengths[0])
    for axis, task in zip(panels.flat, tasks, strict=False):
        of_task = table[table["task"] == task]
        for place, start in enumerate(starts):
            points = of_task[of_task["start"] == start]
            at = points["rows"] * np.exp(width * (place - (len(starts) - 1) / 2))
            around = [points["exact_match"] - points["low"], points["high"] - points["exact_match"]]
            bars = axis.errorbar(
                at,
                points["exact_match"],
                np.clip(around, 0, None),
                color=colours[start],
                marker=markers[start],
                ms=4,
                lw=1.4,
                elinewidth=0.9,
                capsize=2,
                label=f"from {start}",
            )
            summary = ", ".join(
                f"{row['rows']} rows {row['exact_match']:.1f}%" for row in points.to_dict("records")
            )
            drawing.tip(bars.lines[0], f"{task} from {start}: {summary}")
        for name, style in (("no_prompt", ":"), ("instruction", "--")):
            level = baselines.loc[task, name]
            axis.axhline(level, color="#555555", ls=style, lw=1, label=name.replace("_", " "))
        axis.set(title=task, ylim=(-2, 104), xscale="log", xticks=lengths, xticklabels=map(str, lengths))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_minor_formatter(NullFormatter())
    for axis in panels.flat[len(tasks) :]:
        axis.set_axis_off()
    for axis in panels[:, 0]:
        axis.set_ylabel("exact match, %")
    for axis in panels[-1]:
        axis.set_xlabel("rows of the prompt")
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    return drawing
