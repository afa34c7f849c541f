"""The figure of the prompts' norms."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.style import FAINT, colour_of, marker_of


@rc_context(STYLE)
def norm_figure(table: pd.DataFrame, caption: str) -> Drawing:
    """The Frobenius norm of every prompt by task, filled, beside that of the prompt it started from, hollow.

    Args:
        table: one line per run and space, with `norm` and `initial_norm`; a panel per space.
        caption: of the drawing.
    """
    spaces = list(dict.fromkeys(table["space"]))
    tasks = list(dict.fromkeys(table["task"]))
    colours, markers = colour_of(tasks), marker_of(list(table["variant"]))
    figure = Figure(figsize=(1.2 + 3.1 * len(spaces), 2.9), layout="constrained")
    drawing = Drawing(figure, caption=caption)
    axes = figure.subplots(1, len(spaces), squeeze=False)[0]
    # A variant has two columns of marks at each task, its starts on the left.
    columns = np.linspace(-0.3, 0.3, 2 * len(markers))
    place = {variant: columns[2 * i : 2 * i + 2] for i, variant in enumerate(markers)}
    for axis, space in zip(axes, spaces, strict=True):
        for row in table[table["space"] == space].to_dict("records"):
            colour, marker = colours[row["task"]], markers[row["variant"]]
            left, right = tasks.index(row["task"]) + place[row["variant"]]
            style = {"edgecolors": colour, "marker": marker, "s": 24, "linewidths": 0.9}
            start = axis.scatter(left, row["initial_norm"], facecolors="none", **style)
            tuned = axis.scatter(right, row["norm"], facecolors=colour, **style)
            drawing.tip(start, f"{row['run']}, before tuning: {row['initial_norm']:.4g}")
            drawing.tip(tuned, f"{row['run']}: {row['norm']:.4g}")
        axis.set(title=f"Frobenius norm, {space}", xticks=range(len(tasks)), xticklabels=tasks)
        axis.margins(x=0.1, y=0.12)
    for variant, marker in markers.items():
        axes[-1].scatter([], [], color=FAINT, marker=marker, label=f"from {variant}, tuned")
        axes[-1].scatter(
            [], [], facecolors="none", edgecolors=FAINT, marker=marker, label=f"from {variant}, untrained"
        )
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return drawing
