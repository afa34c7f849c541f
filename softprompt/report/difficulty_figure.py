"""The figure of zero-shot difficulty beside the spread of the prompts."""

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.style import colour_of

PANELS = {
    "norm_variance": "variance of the norms (raw)",
    "mean_squared_distance": "mean squared distance (raw)",
}


@rc_context(STYLE)
def difficulty_figure(table: pd.DataFrame, caption: str) -> Drawing:
    """A point per task: delta across, a measure of spread up.

    Args:
        table: by task, `delta` (points of exact match) and the columns of `PANELS`.
        caption: of the drawing.
    """
    figure = Figure(figsize=(7.4, 2.8), layout="constrained")
    drawing = Drawing(figure, caption=caption)
    colours = colour_of(list(table.index))
    axes = figure.subplots(1, len(PANELS))
    for axis, (column, name) in zip(axes, PANELS.items(), strict=True):
        for task, row in table.iterrows():
            point = axis.scatter(row["delta"], row[column], color=colours[str(task)], s=28, label=task)
            drawing.tip(point, f"{task}: delta {row['delta']:.1f} points, {name} {row[column]:.4g}")
        axis.set(title=name, xlabel="delta: maximum − median zero-shot, points")
        axis.margins(0.18)
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return drawing
