"""Projection of all prompts to the plane, and whether nearest prompts share a task."""

from collections.abc import Sequence
from itertools import product

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist
from torch import Tensor

from softprompt.analysis.projection import INITIAL, TUNED, projection_table
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.nearest_prompt import nearest_claims, nearest_findings, nearest_prompt_table
from softprompt.report.registry import Section, section
from softprompt.report.style import FAINT, colour_of, marker_of
from softprompt.settings import AnalysisSettings
from softprompt.study import SPACES, Study

MINIMUM_PROMPTS = 4
NOT_SHOWN = (
    "The figure cannot show how far groups of prompts are apart: in t-SNE, distances between clusters and their sizes have no "
    "meaning, and PCA shows two of many directions. Statements on nearest prompts are on the distances of whole prompts."
)


@section(place=60)
def projection(study: Study, settings: AnalysisSettings) -> Section | None:
    """t-SNE and PCA in two spaces; None with fewer than `MINIMUM_PROMPTS` prompts, or if all prompts are the same."""
    if len(study.prompts) < MINIMUM_PROMPTS or _all_equal([prompt.matrix for prompt in study.prompts]):
        return None
    tables, perplexity = [], 0.0
    for space in SPACES:
        tuned = [study.in_space(prompt.matrix, space) for prompt in study.prompts]
        initial = [study.in_space(matrix, space) for matrix in study.initial_matrices]
        table, perplexity = projection_table(study.labels, tuned, initial)
        tables.append(table.assign(space=space))
    points = pd.concat(tables, ignore_index=True)
    nearest = nearest_prompt_table(study, settings.alignment)
    return Section(
        title="Projection to the plane",
        how=(
            "t-SNE and PCA of the tuned prompts and the prompts they started from together: rows end to end, shorter prompts "
            "stretched to the rows of the longest by interpolation. openTSNE, exact neighbours, initialised with PCA, seed 0, "
            f"perplexity {perplexity:.3g} (30 with 91 different prompts or more). Nearest prompts: Frobenius distance, raw, "
            f"alignment '{settings.alignment}'; p is by relabelling the tasks of the prompts, 9,999 times. Random prompts show "
            "what lengths and alignment alone do: a stretched prompt is nearer to others than one of full length. "
            "Displacements are scaled to one norm per row, because tasks differ in how far their prompts move. Runs that kept "
            "their initial prompt are left out of nearest prompts."
        ),
        findings=[*nearest_findings(nearest), NOT_SHOWN],
        claims=list(nearest_claims(nearest, "projection")),
        drawings={"projection": _figure(points, _caption(points))},
        tables={"projection": points, "nearest_prompt": nearest},
        names_spaces=True,
    )


def _all_equal(prompts: Sequence[Float[Tensor, "_ d"]]) -> bool:
    return all(torch.equal(prompt, prompts[0]) for prompt in prompts)


@rc_context(STYLE)
def _figure(points: pd.DataFrame, caption: str) -> Drawing:
    """A point per prompt and an arrow to it from its start: t-SNE and PCA of every space, side by side."""
    spaces = list(dict.fromkeys(points["space"]))
    figure = Figure(figsize=(2.9 * 2 * len(spaces), 2.8), layout="constrained")
    drawing = Drawing(figure, caption=caption)
    colours = colour_of(list(points["task"]))
    markers = marker_of(list(points["variant"]))
    names = {"tsne": "t-SNE", "pca": "PCA"}
    axes = figure.subplots(1, 2 * len(spaces))
    for axis, (space, kind) in zip(axes, product(spaces, names), strict=True):
        x, y = f"{kind}_x", f"{kind}_y"
        in_space = points[points["space"] == space]
        tuned, initial = (in_space[in_space["prompt"] == name] for name in (TUNED, INITIAL))
        for end, start in zip(tuned.to_dict("records"), initial.to_dict("records"), strict=True):
            colour, marker = colours[end["task"]], markers[end["variant"]]
            axis.annotate(
                "",
                (end[x], end[y]),
                (start[x], start[y]),
                arrowprops={"arrowstyle": "->", "color": colour, "lw": 0.6, "alpha": 0.6},
                zorder=1,
            )
            style = {"edgecolors": colour, "marker": marker, "linewidths": 0.9, "s": 28}
            hollow = axis.scatter(start[x], start[y], facecolors="white", zorder=2, **style)
            filled = axis.scatter(end[x], end[y], facecolors=colour, zorder=3, **style)
            about = f"{end['task']}, from {end['variant']}, seed {end['seed']}"
            drawing.tip(hollow, f"{about}: before tuning")
            drawing.tip(filled, f"{about}: tuned")
        axis.set(title=f"{names[kind]}, {space}", xticks=[], yticks=[])
        axis.margins(0.12)
    for task, colour in colours.items():
        axes[-1].scatter([], [], color=colour, label=task)
    for variant, marker in markers.items():
        axes[-1].scatter([], [], color=FAINT, marker=marker, label=f"from {variant}")
    axes[-1].scatter([], [], facecolors="white", edgecolors=FAINT, label="before tuning")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return drawing


def _caption(points: pd.DataFrame) -> str:
    """How long the arrows are in the first panel of PCA, beside the distance of two points."""
    raw = points[points["space"] == "raw"]
    tuned, initial = (
        raw.loc[raw["prompt"] == name, ["pca_x", "pca_y"]].to_numpy() for name in (TUNED, INITIAL)
    )
    moved = (((tuned - initial) ** 2).sum(axis=1) ** 0.5).mean()
    between = pdist(tuned).mean()
    return (
        f"An arrow leads from each start (hollow) to the tuned prompt (filled). In the PCA (raw) it is on average "
        f"{moved / between:.0%} as long as the mean distance of two tuned prompts."
    )
