"""Norms, means and variances of the prompts, and the distances between them."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor

from softprompt.analysis.geometry import distance_table, equidistance_table, norm_table
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.formatting import format_interval, format_range
from softprompt.report.registry import Section, section
from softprompt.report.style import colour_of, marker_of
from softprompt.settings import AnalysisSettings
from softprompt.study import SPACES, Space, Study

NEARLY_EQUIDISTANT = 0.1  # coefficient of variation
COLUMNS = {"row_norm": "mean row norm", "variance": "variance"}  # in the figure


@section(place=70)
def norms(study: Study, settings: AnalysisSettings) -> Section:
    """Norms and variances in two spaces, distances, and whether a task's prompts are nearly equidistant."""
    prompts = {space: [study.in_space(p.matrix, space) for p in study.prompts] for space in SPACES}
    initial = {space: [study.in_space(m, space) for m in study.initial_matrices] for space in SPACES}
    table = pd.concat(
        [
            norm_table(study.labels, prompts[space]).assign(
                space=space,
                initial_row_norm=norm_table(study.labels, initial[space])["row_norm"],
            )
            for space in SPACES
        ],
        ignore_index=True,
    )
    tables = {"norms": table}
    if len(study.prompts) > 1:
        tables |= _distances(study, prompts, settings.alignment)
    return Section(
        title="Norms and distances",
        how=(
            f"The distance of two prompts is ‖A − B‖ / √rows with the alignment '{settings.alignment}'. Prompts of a task "
            "are called nearly equidistant if the interval of the coefficient of variation of their distances lies below "
            f"{NEARLY_EQUIDISTANT:.0%}. The interval resamples runs. Runs that kept their initial prompt are left out. ± "
            "is the standard deviation over runs."
        ),
        findings=[
            *(_equidistance(tables["equidistance"]) if "equidistance" in tables else []),
            *_growth(table),
        ],
        digest=_digest(table),
        drawings={"norms": _figure(table)},
        tables=tables,
        names_spaces=True,
    )


def _distances(
    study: Study, prompts: dict[Space, list[Float[Tensor, "_ d"]]], alignment: str
) -> dict[str, pd.DataFrame]:
    distances, equidistance = [], []
    variants = dict(zip(study.labels["run"], study.labels["variant"], strict=True))
    trained = {run.id for run, result in zip(study.runs, study.results, strict=True) if result["best_step"]}
    for space, in_space in prompts.items():
        table = distance_table(list(study.labels["run"]), list(study.labels["task"]), in_space, alignment)
        table = table.assign(
            first_variant=table["first"].map(variants),
            second_variant=table["second"].map(variants),
            space=space,
        )
        distances.append(table)
        compared = table["first_variant"] == table["second_variant"]
        # Runs that kept a shared initial prompt have a distance of 0.
        compared &= table["first"].isin(trained) & table["second"].isin(trained)
        for variant, group in table[compared].groupby("first_variant", sort=False):
            equidistance.append(equidistance_table(group).assign(variant=variant, space=space))
    return {
        "equidistance": pd.concat(equidistance, ignore_index=True) if equidistance else pd.DataFrame(),
        "distances": pd.concat(distances, ignore_index=True),
    }


@rc_context(STYLE)
def _figure(table: pd.DataFrame) -> Drawing:
    """Mean row norm and variance of every prompt by task: a row of panels per space."""
    spaces = list(dict.fromkeys(table["space"]))
    figure = Figure(figsize=(7.4, 2.2 * len(spaces)), layout="constrained")
    drawing = Drawing(figure)
    tasks = list(dict.fromkeys(table["task"]))
    colours = colour_of(tasks)
    markers = marker_of(list(table["variant"]))
    offsets = np.linspace(-0.12, 0.12, len(markers)) if len(markers) > 1 else [0.0]
    offset_of = dict(zip(markers, offsets, strict=True))
    grid = figure.subplots(len(spaces), 2, squeeze=False)
    for axes, space in zip(grid, spaces, strict=True):
        for axis, (column, name) in zip(axes, COLUMNS.items(), strict=True):
            for row in table[table["space"] == space].to_dict("records"):
                point = axis.scatter(
                    tasks.index(row["task"]) + offset_of[row["variant"]],
                    row[column],
                    color=colours[row["task"]],
                    marker=markers[row["variant"]],
                    s=24,
                )
                drawing.tip(point, f"{row['run']}: {row[column]:.4g}")
            axis.set(title=f"{name}, {space}", xticks=range(len(tasks)), xticklabels=tasks)
            axis.margins(x=0.15, y=0.2)
    return drawing


def _equidistance(table: pd.DataFrame) -> Iterator[str]:
    if table.empty:
        return
    model_input = table[(table["space"] == "model input") & table["low"].notna()]
    for variant, group in model_input.groupby("variant", sort=False):
        low, high = group["low"].min(), group["high"].max()
        yield (
            f"Initialised from {variant}, the distances (model input) between prompts of one task have a coefficient of "
            f"variation of {format_range(group['coefficient_of_variation'])} (intervals within "
            f"{format_interval(100 * low, 100 * high, '.0f')}%): "
            f"{'nearly equidistant' if high < NEARLY_EQUIDISTANT else 'not shown to be nearly equidistant'}."
        )


def _growth(table: pd.DataFrame) -> Iterator[str]:
    raw = table[table["space"] == "raw"]
    growth = raw["row_norm"] / raw["initial_row_norm"] - 1
    if abs(growth.mean()) >= 0.005:
        yield (
            f"Tuning changed the mean row norm (raw) by {growth.mean():+.0%} on average over runs; it grew in "
            f"{(growth > 0).sum()} of {len(raw)} runs."
        )


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for (task, variant), group in table.groupby(["task", "variant"], sort=False):
        raw, model_input = group[group["space"] == "raw"], group[group["space"] == "model input"]
        lines.append(
            {
                "task": task,
                "initialised from": variant,
                "norm (raw)": f"{raw['norm'].mean():.2f} ± {raw['norm'].std(ddof=0):.2f}",
                "mean (raw)": f"{raw['mean'].mean():.4f}",
                "variance (raw)": f"{raw['variance'].mean():.4f}",
                "norm (model input)": f"{model_input['norm'].mean():.2f} ± {model_input['norm'].std(ddof=0):.2f}",
                "variance (model input)": f"{model_input['variance'].mean():.4f}",
            }
        )
    return pd.DataFrame(lines)
