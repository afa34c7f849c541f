"""A heat map over pairs of tasks."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.formatting import significant

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


@rc_context(STYLE)
def heat_map(
    table: pd.DataFrame,
    value: str,
    title: str,
    unit: str = "",
    starred: str | None = None,
    diverging: bool = False,
    label: str = "",
    axes: tuple[str, str] = ("source task (prompt)", "target task"),
) -> Drawing:
    """A cell per source task (down) and target task (across).

    Numbers have three significant digits and colours are sequential, unless they are diverging.

    Args:
        table: one line per `source` and `target`; `low` and `high`, if it has them, are shown as an interval.
        value: the column to draw.
        title: of the figure.
        unit: of the value, for the tips.
        starred: a column of truth values; where it is true, the number has a star.
        diverging: colours are symmetric around 0, and numbers have a sign and no decimals.
        label: what the value is, beside a scale of the colours; without it there is no scale.
        axes: what the lines and the columns are.
    """
    sources, targets = (list(dict.fromkeys(table[name])) for name in ("source", "target"))
    width = 0.85 * len(targets) + 1.9 + 0.8 * bool(label)
    figure = Figure(figsize=(width, 0.62 * len(sources) + 1.1), layout="constrained")
    drawing = Drawing(figure)
    axis = figure.subplots()
    between = ", " if axes[0] == axes[1] else " → "
    largest = np.nanmax(np.abs(table[value])) or 1.0
    image = axis.imshow(
        np.full((len(sources), len(targets)), np.nan),
        cmap="RdBu" if diverging else "viridis",
        vmin=-largest if diverging else float(np.nanmin(table[value])),
        vmax=largest if diverging else float(np.nanmax(table[value])),
        aspect="auto",
    )
    for row in table.to_dict("records"):
        x, y = targets.index(row["target"]), sources.index(row["source"])
        colour = image.cmap(image.norm(row[value]))
        cell = axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=colour, lw=0))
        star = "*" if starred and row[starred] else ""
        number = f"{row[value]:+z.0f}{star}" if diverging else f"{significant(row[value])}{star}"
        text_colour = "white" if np.dot(colour[:3], LUMINANCE) < 0.5 else "black"
        axis.text(x, y, number, ha="center", va="center", color=text_colour)
        interval = f" ({row['low']:+.1f} to {row['high']:+.1f})" if "low" in row else ""
        drawing.tip(cell, f"{row['source']}{between}{row['target']}: {row[value]:.4g}{unit}{interval}")
    axis.set(
        title=title,
        xticks=range(len(targets)),
        xticklabels=targets,
        yticks=range(len(sources)),
        yticklabels=sources,
        xlabel=axes[1],
        ylabel=axes[0],
    )
    axis.spines[:].set_visible(False)
    if label:
        figure.colorbar(image, ax=axis, label=label).outline.set_visible(False)
    return drawing
