"""Projection of all prompts to the plane, and whether nearest prompts share a task or a seed."""

from collections.abc import Iterator, Sequence
from itertools import product

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor

from softprompt.analysis.geometry import distance_table, nearest_run
from softprompt.analysis.projection import projection_table
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.registry import Section, section
from softprompt.report.style import FAINT, colour_of, marker_of
from softprompt.settings import AnalysisSettings
from softprompt.study import CENTRED_SPACES, Study

MINIMUM_PROMPTS = 4


@section(place=60)
def projection(study: Study, settings: AnalysisSettings) -> Section | None:
    """t-SNE and PCA in two spaces; None with fewer than `MINIMUM_PROMPTS` prompts, or if all prompts are the same."""
    if len(study.prompts) < MINIMUM_PROMPTS or _all_equal([prompt.matrix for prompt in study.prompts]):
        return None
    tables, perplexity = [], 0.0
    for space in CENTRED_SPACES:
        matrices = [study.in_space(prompt.matrix, space) for prompt in study.prompts]
        table, perplexity = projection_table(study.labels, matrices)
        tables.append(table.assign(space=space))
    points = pd.concat(tables, ignore_index=True)
    return Section(
        title="Projection to the plane",
        how=(
            "t-SNE and PCA of the prompts: rows end to end, shorter prompts padded with zeros. Lines join the prompts of "
            "one task and variant. openTSNE, exact neighbours, initialised with PCA, seed 0, perplexity "
            f"{perplexity:.3g} (30 with 91 prompts or more). In t-SNE, distances between clusters and their sizes have "
            "no meaning."
        ),
        findings=list(_nearest_prompts(study, settings.alignment)),
        drawings={"projection": _figure(points, perplexity)},
        tables={"projection": points},
        names_spaces=True,
    )


def _all_equal(prompts: Sequence[Float[Tensor, "_ d"]]) -> bool:
    return all(torch.equal(prompt, prompts[0]) for prompt in prompts)


@rc_context(STYLE)
def _figure(points: pd.DataFrame, perplexity: float) -> Drawing:
    """A point per prompt: a row of panels per space, t-SNE on the left, PCA on the right."""
    spaces = list(dict.fromkeys(points["space"]))
    figure = Figure(figsize=(7.4, 3.3 * len(spaces)), layout="constrained")
    drawing = Drawing(figure)
    colours = colour_of(list(points["task"]))
    markers = marker_of(list(points["variant"]))
    names = {"tsne": "t-SNE", "pca": "PCA"}
    grid = figure.subplots(len(spaces), 2, squeeze=False)
    for axis, (space, kind) in zip(grid.flat, product(spaces, names), strict=True):
        x, y = f"{kind}_x", f"{kind}_y"
        in_space = points[points["space"] == space]
        for (_, task), group in in_space.groupby(["variant", "task"], sort=False):
            ordered = group.sort_values("seed")
            closed = pd.concat([ordered, ordered.iloc[:1]])
            axis.plot(closed[x], closed[y], color=colours[str(task)], lw=0.7, alpha=0.6, zorder=1)
        for row in in_space.to_dict("records"):
            point = axis.scatter(
                row[x], row[y], color=colours[row["task"]], marker=markers[row["variant"]], s=32, zorder=2
            )
            drawing.tip(point, f"{row['task']}, from {row['variant']}, seed {row['seed']}")
        axis.set(title=f"{names[kind]}, {space}", xticks=[], yticks=[])
        if kind == "tsne":
            axis.set_xlabel(f"perplexity {perplexity:.3g}, {len(in_space)} prompts")
        axis.margins(0.12)
    for task, colour in colours.items():
        grid[0, 1].scatter([], [], color=colour, label=task)
    for variant, marker in markers.items():
        grid[0, 1].scatter([], [], color=FAINT, marker=marker, label=f"from {variant}")
    grid[0, 1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return drawing


def _nearest_prompts(study: Study, alignment: str) -> Iterator[str]:
    """By the distance between whole prompts, because a projection does not preserve distances."""
    for variant, group in study.labels.groupby("variant", sort=False):
        runs, tasks = list(group["run"]), list(group["task"])
        if len(set(tasks)) < 2 or len(runs) < MINIMUM_PROMPTS:
            continue
        prompts = [study.prompts[index].matrix for index in group.index]
        if _all_equal(prompts):
            continue
        nearest = nearest_run(distance_table(runs, tasks, prompts, alignment))
        by_run = group.set_index("run")
        same = {
            column: sum(by_run[column][run] == by_run[column][other] for run, other in nearest.items())
            for column in ("task", "seed")
        }
        chance = sum((tasks.count(task) - 1) / (len(tasks) - 1) for task in tasks)
        yield (
            f"Initialised from {variant}, the nearest other prompt (Frobenius distance, raw, alignment '{alignment}') has "
            f"the same task for {same['task']} of {len(runs)} prompts (by chance {chance:.0f}), and the same seed for "
            f"{same['seed']}."
        )
