"""The figure of the precision of every reading."""

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.readings_claim import ANY_WORD, INSTRUCTION_WORD
from softprompt.report.style import COLOURS, FAINT, INK

# Column, label, marker, colour and filling of a mark.
MARKS = (
    (f"chance, {ANY_WORD}", "chance, any word", "|", FAINT, FAINT),
    (f"chance, {INSTRUCTION_WORD}", "chance, instruction words", "|", COLOURS[1], COLOURS[1]),
    ("initial", "untrained prompts", "o", COLOURS[0], "none"),
    ("precision", "tuned prompts", "o", COLOURS[0], COLOURS[0]),
)


@rc_context(STYLE)
def readings_figure(table: pd.DataFrame) -> Drawing:
    """A panel per start, a line per reading: precision, mean over tasks, and what chance and untrained prompts have.

    Args:
        table: lines of `readings_table` of one kind of truth.
    """
    columns = [column for column, *_ in MARKS]
    means = table.groupby(["variant", "reading"], sort=False)[columns].mean().reset_index()
    variants, readings = (list(dict.fromkeys(means[name])) for name in ("variant", "reading"))
    figure = Figure(figsize=(3.0 * len(variants) + 3.4, 0.27 * len(readings) + 1.1), layout="constrained")
    drawing = Drawing(figure, caption=_caption(means))
    panels = figure.subplots(1, len(variants), sharex=True, sharey=True, squeeze=False)[0]
    for axis, variant in zip(panels, variants, strict=True):
        for row in means[means["variant"] == variant].to_dict("records"):
            y = readings.index(row["reading"])
            of_tasks = table[(table["variant"] == variant) & (table["reading"] == row["reading"])]
            axis.plot(of_tasks["precision"], [y] * len(of_tasks), ".", color=INK, ms=3, alpha=0.4)
            for column, label, marker, colour, filling in MARKS:
                is_mark = marker != "|"
                style = {"facecolors": filling, "edgecolors": colour} if is_mark else {"color": colour}
                mark = axis.scatter(row[column], y, marker=marker, s=36 if is_mark else 70, zorder=3, **style)
                drawing.tip(mark, f"{row['reading']}, {label}: {row[column]:.0%}, mean over tasks")
        axis.set(title=f"from {variant}", xlabel="precision", xlim=(-0.03, 1.03))
        axis.set(yticks=range(len(readings)), yticklabels=readings, ylim=(len(readings) - 0.5, -0.5))
    for _, label, marker, colour, filling in MARKS:
        is_mark = marker != "|"
        style = {"facecolors": filling, "edgecolors": colour} if is_mark else {"color": colour}
        panels[-1].scatter([], [], marker=marker, s=36 if is_mark else 70, label=label, **style)
    panels[-1].plot([], [], ".", color=INK, ms=3, alpha=0.4, label="a task, tuned")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return drawing


def _caption(means: pd.DataFrame) -> str:
    parts = []
    for variant, group in means.groupby("variant", sort=False):
        best = group.sort_values("precision", ascending=False, kind="stable").iloc[0]
        parts.append(
            f"from {variant} “{best['reading']}” reads {best['precision']:.0%}, of untrained prompts {best['initial']:.0%}"
        )
    return (
        "The share of the words of each reading that are taught words of the task, mean over tasks. The highest: "
        f"{'; '.join(parts)}. Chance among instruction words is lower for a list that has other words, too, because these "
        "count as wrong."
    )
