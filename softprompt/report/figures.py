"""The study's figures, each drawn from a table."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from softprompt.report.drawing import STYLE, Drawing, fonts_for

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = ("o", "^", "s", "D", "v", "P", "X", "*", "<", ">")
KEPT, NAMED = "#2a7d4f", "#b3541e"


def mark_of(variants: Sequence[str]) -> dict[str, str]:
    """A mark for each start, in order of appearance."""
    return {variant: MARKS[i % len(MARKS)] for i, variant in enumerate(dict.fromkeys(variants))}


def colour_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each task, or each start, in order of appearance."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(dict.fromkeys(names))}


@rc_context(STYLE)
def learning_curves(curves: pd.DataFrame) -> Drawing:
    """Exact match by step, a panel per task: each run thin, the mean of a start's runs thick while all run."""
    tasks = list(dict.fromkeys(curves["task"]))
    figure = Figure(figsize=(2.4 * len(tasks) + 0.6, 2.5), layout="constrained")
    drawing = Drawing(figure)
    axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    colours = colour_of(list(curves["variant"]))
    for axis, task in zip(axes, tasks, strict=True):
        own = curves[curves["task"] == task]
        for (variant, run), points in own.groupby(["variant", "run"], sort=False):
            (line,) = axis.plot(
                points["step"], points["exact_match"], color=colours[variant], alpha=0.35, lw=0.9
            )
            last = points.iloc[-1]
            drawing.tip(
                line, f"{run}: {points['exact_match'].max():.1%} at best, {last['step']:.0f} steps in all"
            )
        for variant, points in own.groupby("variant", sort=False):
            # A run that has stopped stands where it stopped.
            wide = points.pivot(index="step", columns="run", values="exact_match").ffill()
            axis.plot(wide.index, wide.mean(axis=1), color=colours[variant], lw=2, label=f"from {variant}")
        for name, style in (("no_prompt", ":"), ("instruction", "--")):
            axis.axhline(own[name].iloc[0], color="#555555", ls=style, lw=1, label=name.replace("_", " "))
        axis.set(title=task, xlabel="step", ylim=(-0.02, 1.04))
    axes[0].set_ylabel("exact match")
    axes[-1].legend(loc="lower right", fontsize=7)
    return drawing


@rc_context(STYLE)
def projection(points: pd.DataFrame, perplexity: float) -> Drawing:
    """Every prompt as a point, t-SNE and PCA side by side, a line for each space; prompts of one task are joined."""
    spaces = list(dict.fromkeys(points["space"]))
    figure = Figure(figsize=(7.4, 3.3 * len(spaces)), layout="constrained")
    drawing = Drawing(figure)
    colours = colour_of(list(points["task"]))
    marks = mark_of(list(points["variant"]))
    count = len(points) // len(spaces)
    titles = {"tsne": f"t-SNE (perplexity {perplexity:.3g}, n={count})", "pca": "PCA"}
    grid = figure.subplots(len(spaces), 2, squeeze=False)
    for axis, (space, kind) in zip(grid.flat, product(spaces, titles), strict=True):
        x, y = f"{kind}_x", f"{kind}_y"
        shown = points[points["space"] == space]
        for (_, task), own in shown.groupby(["variant", "task"], sort=False):
            ordered = own.sort_values("seed")
            closed = pd.concat([ordered, ordered.iloc[:1]])
            axis.plot(closed[x], closed[y], color=colours[str(task)], lw=0.7, alpha=0.6, zorder=1)
        for row in shown.to_dict("records"):
            dot = axis.scatter(
                row[x], row[y], color=colours[row["task"]], marker=marks[row["variant"]], s=32, zorder=2
            )
            drawing.tip(dot, f"{row['task']}, from {row['variant']}, seed {row['seed']}")
        axis.set(title=f"{titles[kind]}, {space}", xticks=[], yticks=[])
        axis.margins(0.12)
    for task, colour in colours.items():
        grid[0, 1].scatter([], [], color=colour, label=task)
    for variant in marks:
        grid[0, 1].scatter([], [], color="#777777", marker=marks[variant], label=f"from {variant}")
    grid[0, 1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return drawing


@rc_context(STYLE)
def norms(table: pd.DataFrame) -> Drawing:
    """Norm and variance of every prompt by task: as it is stored, and as the model reads it."""
    spaces = list(dict.fromkeys(table["space"]))
    figure = Figure(figsize=(7.4, 2.2 * len(spaces)), layout="constrained")
    drawing = Drawing(figure)
    tasks = list(dict.fromkeys(table["task"]))
    colours = colour_of(tasks)
    marks = mark_of(list(table["variant"]))
    places = np.linspace(-0.12, 0.12, len(marks)) if len(marks) > 1 else [0.0]
    shifts = dict(zip(marks, places, strict=True))
    grid = figure.subplots(len(spaces), 2, squeeze=False)
    for row_of_axes, space in zip(grid, spaces, strict=True):
        for axis, (column, name) in zip(
            row_of_axes, {"row_norm": "mean norm of a row", "variance": "variance"}.items(), strict=True
        ):
            for row in table[table["space"] == space].to_dict("records"):
                dot = axis.scatter(
                    tasks.index(row["task"]) + shifts[row["variant"]],
                    row[column],
                    color=colours[row["task"]],
                    marker=marks[row["variant"]],
                    s=24,
                )
                drawing.tip(dot, f"{row['run']}: {row[column]:.4g}")
            axis.set(title=f"{name}, {space}", xticks=range(len(tasks)), xticklabels=tasks)
            axis.margins(x=0.15, y=0.2)
    return drawing


@rc_context(STYLE)
def heat_map(
    table: pd.DataFrame,
    value: str,
    title: str,
    unit: str = "",
    marked: str | None = None,
    diverging: bool = False,
) -> Drawing:
    """Sources down, targets across; `marked` names a column of truth values that are starred."""
    sources, targets = (list(dict.fromkeys(table[name])) for name in ("source", "target"))
    figure = Figure(figsize=(0.85 * len(targets) + 1.9, 0.62 * len(sources) + 1.1), layout="constrained")
    drawing = Drawing(figure)
    axis = figure.subplots()
    largest = np.nanmax(np.abs(table[value])) or 1.0
    lowest = -largest if diverging else float(np.nanmin(table[value]))
    highest = largest if diverging else float(np.nanmax(table[value]))
    image = axis.imshow(
        np.full((len(sources), len(targets)), np.nan),
        cmap="RdBu" if diverging else "viridis",
        vmin=lowest,
        vmax=highest,
        aspect="auto",
    )
    for row in table.to_dict("records"):
        x, y = targets.index(row["target"]), sources.index(row["source"])
        colour = image.cmap(image.norm(row[value]))
        cell = axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=colour, lw=0))
        star = "*" if marked and row[marked] else ""
        dark = np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5
        shown = f"{row[value]:+z.0f}{star}" if diverging else f"{row[value]:.3g}{star}"
        axis.text(x, y, shown, ha="center", va="center", color="white" if dark else "black")
        interval = f" ({row['low']:+.1f} to {row['high']:+.1f})" if "low" in row else ""
        drawing.tip(cell, f"{row['source']} → {row['target']}: {row[value]:.4g}{unit}{interval}")
    axis.set(
        title=title,
        xticks=range(len(targets)),
        xticklabels=targets,
        yticks=range(len(sources)),
        yticklabels=sources,
        xlabel="target task",
        ylabel="prompt of",
    )
    axis.spines[:].set_visible(False)
    return drawing


@rc_context(STYLE)
def similarity_against_transfer(pairs: pd.DataFrame, correlation: dict[str, float], measure: str) -> Drawing:
    """A point per ordered pair of different tasks."""
    figure = Figure(figsize=(4.4, 3.2), layout="constrained")
    drawing = Drawing(figure)
    axis = figure.subplots()
    colours = colour_of(list(pairs["source"]))
    for row in pairs.to_dict("records"):
        dot = axis.scatter(row["similarity"], row["gain"], color=colours[row["source"]], s=28)
        label = f"{row['source']} → {row['target']}"
        axis.annotate(label, (row["similarity"], row["gain"]), (4, 3), textcoords="offset points", fontsize=7)
        drawing.tip(dot, f"{label}: similarity {row['similarity']:.4g}, gain {row['gain']:+.1f} points")
    axis.axhline(0, color="#999999", lw=0.8)
    axis.set(
        title=f"Spearman {correlation['spearman']:+.2f}, p={correlation['p']:.2f} (Mantel)",
        xlabel=f"similarity: {measure}",
        ylabel="transfer, points over no prompt",
    )
    axis.margins(0.15)
    return drawing


@rc_context(STYLE)
def attribution(table: pd.DataFrame, title: str) -> Drawing:
    """A line per prompt row, a panel per edit: what changing the row costs, each run a dot and their mean a bar."""
    edits = list(dict.fromkeys(table["edit"]))
    rows = sorted(table["row"].unique())
    figure = Figure(figsize=(1.7 * len(edits) + 1.4, 0.19 * len(rows) + 1.0), layout="constrained")
    drawing = Drawing(figure)
    for axis, edit in zip(
        figure.subplots(1, len(edits), sharex=True, sharey=True, squeeze=False)[0], edits, strict=True
    ):
        own = table[table["edit"] == edit]
        for row, of_row in own.groupby("row"):
            mean, kept = of_row["loss_change"].mean(), of_row["kept"].mean()
            (bar,) = axis.barh(row, mean, color=KEPT if kept > 0.5 else "#b9c3cc", height=0.7, alpha=0.75)
            axis.plot(of_row["loss_change"], [row] * len(of_row), ".", color="#222222", ms=3, alpha=0.6)
            change = of_row["exact_match_change"].mean()
            drawing.tip(
                bar,
                f"row {row}, {edit}: {mean:+.3f} nats, {change:+.1f} points of exact match; kept its token in "
                f"{of_row['kept'].sum()} of {len(of_row)} runs",
            )
        axis.axvline(0, color="#999999", lw=0.8)
        axis.set(title=edit, xlabel="nats per answer")
        axis.xaxis.set_major_locator(MaxNLocator(3))
    starts = _shared_starts(table)
    labels = [f"{row}  {_plain(starts[row])}" if row in starts else str(row) for row in rows]
    figure.axes[0].set(yticks=rows, yticklabels=labels, ylim=(len(rows) - 0.4, -0.6))
    for label in figure.axes[0].get_yticklabels():
        label.set_fontfamily(fonts_for(label.get_text()))
    figure.suptitle(f"{title}: what changing a row costs", x=0.01, ha="left", weight="bold", size=10)
    return drawing


@rc_context(STYLE)
def neighbours(table: pd.DataFrame, title: str) -> Drawing:
    """A line per prompt row, a column per run: nearest tokens; kept ones and the lexicon's in colour."""
    runs = list(dict.fromkeys(table["run"]))
    rows = sorted(table["row"].unique())
    ranks = sorted(table["rank"].unique())
    starts = _shared_starts(table)
    started = len(starts) == len(rows)
    width = 1.35 * len(ranks) + 0.15
    figure = Figure(figsize=(width * len(runs) + 1.6 * started + 0.4, 0.2 * len(rows) + 0.8))
    drawing = Drawing(figure)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    first = 1.6 * started + 0.4
    axis.set(xlim=(0, first + width * len(runs)), ylim=(len(rows) + 0.2, -3))
    axis.text(0, -2.4, title, weight="bold", size=10)
    if started:
        axis.text(0.35, -1, "started as", color="#777777")
    for number, start in starts.items() if started else ():
        shown = _plain(start)
        axis.text(0.35, rows.index(number), shown, color="#777777", family=fonts_for(shown))
    for place, run in enumerate(runs):
        axis.text(first + width * place, -1, run, color="#777777")
    for row in table.to_dict("records"):
        y = rows.index(row["row"])
        x = first + width * runs.index(row["run"]) + 1.35 * ranks.index(row["rank"])
        colour = KEPT if row["of_start"] else NAMED if row["in_lexicon"] else "#222222"
        shown = _plain(row["token"])
        weight = "bold" if colour != "#222222" else "normal"
        text = axis.text(x, y, shown, color=colour, weight=weight, family=fonts_for(shown))
        drawing.tip(
            text, f"row {row['row']}, rank {row['rank']}: {row['token']!r}, cosine {row['cosine']:.3f}"
        )
        if row["rank"] == 1:
            axis.text(0, y, str(row["row"]), color="#777777")
    return drawing


def _shared_starts(table: pd.DataFrame) -> dict[int, str]:
    """By row, the token that all runs started from, where it is the same."""
    known = table[table["started_as"].notna()].groupby("row")["started_as"]
    return {int(str(row)): str(found.iloc[0]) for row, found in known if found.nunique() == 1}


def _plain(token: str) -> str:
    """A token as it is to be drawn: white space visible, dollars no mathematics, not too long."""
    shown = token.replace(" ", "▁").replace("\n", "⏎").replace("\t", "⇥").replace("$", r"\$")
    return shown if len(shown) <= 16 else shown[:15] + "…"
