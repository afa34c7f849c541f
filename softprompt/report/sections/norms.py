"""Norms of the prompts, their spread over runs, and the distances between prompts."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import pandas as pd

from softprompt.analysis.copies import without_copies
from softprompt.analysis.geometry import norm_table
from softprompt.analysis.spread import spread_table
from softprompt.report.equidistance import (
    NEARLY_EQUIDISTANT,
    InSpaces,
    distance_tables,
    equidistance_claims,
    equidistance_findings,
)
from softprompt.report.formatting import format_range, significant
from softprompt.report.norm_figure import norm_figure
from softprompt.report.registry import Claim, Section, section
from softprompt.settings import AnalysisSettings, PublishedNorms
from softprompt.study import SPACES, Study


@section(place=70)
def norms(study: Study, settings: AnalysisSettings) -> Section:
    """Norms and their variance over runs in two spaces, distances, and whether a task's prompts are equidistant."""
    tuned: InSpaces = {space: [study.in_space(p.matrix, space) for p in study.prompts] for space in SPACES}
    initial: InSpaces = {
        space: [study.in_space(m, space) for m in study.initial_matrices] for space in SPACES
    }
    table = pd.concat(
        [
            norm_table(study.labels, tuned[space]).assign(
                **norm_table(study.labels, initial[space])[["norm", "row_norm"]].add_prefix("initial_"),
                space=space,
            )
            for space in SPACES
        ],
        ignore_index=True,
    )
    spread = spread_of(study)
    tables, findings = {"norms": table, "spread": spread}, list(_spread(spread))
    claims: list[Claim] = []
    if len(study.prompts) > 1:
        distances, equidistance = distance_tables(study, tuned, initial, settings.alignment)
        tables |= {"equidistance": equidistance, "distances": distances}
        findings += equidistance_findings(equidistance)
        claims += equidistance_claims(equidistance)
    return Section(
        title="Norms and distances",
        how=(
            "The norm is the Frobenius norm ‖P‖. Its variance is that of the norms of a task's prompts over runs, which "
            "differ in the seed (divided by runs − 1), with the 95% interval of a normal distribution in brackets: it is "
            "wide with few runs. The squared distance is that of the prompts to the task's mean prompt, summed over entries "
            "and divided by runs − 1. Of several runs that kept a shared initial prompt one counts. The distance of two "
            f"prompts is ‖A − B‖ / √rows with the alignment '{settings.alignment}'. Prompts of a task are called nearly "
            "equidistant if the interval of the coefficient of variation of their distances, which resamples runs, lies "
            f"below {NEARLY_EQUIDISTANT:.0%}; runs that kept their initial prompt are left out. Random prompts are as many "
            "of equal length and scale, drawn afresh; their interval has 95% of the draws."
        ),
        findings=[*findings, *_growth(table)],
        claims=claims,
        digest=_digest(spread, settings.published_norms),
        drawings={"norms": norm_figure(table, _caption(table))},
        tables=tables,
        names_spaces=True,
    )


def spread_of(study: Study) -> pd.DataFrame:
    """`spread_table` of a study's prompts in `SPACES`, and in columns `initial_*` that of the prompts they started from.

    One line per task, variant and space. Of several runs of a task and variant with the same prompt one counts.
    """
    kept = without_copies(study.labels, [prompt.matrix for prompt in study.prompts])
    tables = []
    for space in SPACES:
        tuned = spread_table(kept, [study.in_space(prompt.matrix, space) for prompt in study.prompts])
        starts = spread_table(study.labels, [study.in_space(m, space) for m in study.initial_matrices])
        columns = starts[["mean_norm", "norm_variance", "mean_squared_distance"]].add_prefix("initial_")
        tables.append(tuned.join(columns).assign(space=space))
    return pd.concat(tables, ignore_index=True)


def _spread(spread: pd.DataFrame) -> Iterator[str]:
    raw = spread[(spread["space"] == "raw") & spread["norm_variance"].notna()]
    for variant, group in raw.groupby("variant", sort=False):
        alike = (group["initial_mean_squared_distance"] == 0).all()
        norm_start = (
            "0, because all runs start alike"
            if alike
            else format_range(group["initial_norm_variance"], ".2g")
        )
        distance_start = "0" if alike else format_range(group["initial_mean_squared_distance"], ".3g")
        yield (
            f"Initialised from {variant}, a task's prompts have a mean norm (raw) of {format_range(group['mean_norm'], '.3g')} "
            f"(untrained: {format_range(group['initial_mean_norm'], '.3g')}). The variance of the norms over "
            f"{format_range(group['runs'], '.0f')} runs is {format_range(group['norm_variance'], '.2g')} (untrained: "
            f"{norm_start}), and the mean squared distance to the task's mean prompt "
            f"{format_range(group['mean_squared_distance'], '.3g')} (untrained: {distance_start})."
        )


def _growth(table: pd.DataFrame) -> Iterator[str]:
    raw = table[table["space"] == "raw"]
    growth = raw["row_norm"] / raw["initial_row_norm"] - 1
    if abs(growth.mean()) >= 0.005:
        yield (
            f"Tuning changed the mean row norm (raw) by {growth.mean():+.0%} on average over runs; it grew in "
            f"{(growth > 0).sum()} of {len(raw)} runs."
        )


def _caption(table: pd.DataFrame) -> str:
    raw = table[table["space"] == "raw"]
    grown = (raw["norm"] > raw["initial_norm"]).sum()
    return (
        f"The norm (raw) of a tuned prompt (filled) is larger than that of its untrained start (hollow) in {grown} of "
        f"{len(raw)} runs; the ratio is {raw['norm'].div(raw['initial_norm']).mean():.2f} on average."
    )


def _digest(spread: pd.DataFrame, published: list[PublishedNorms]) -> pd.DataFrame:
    """A line per task and variant, and one per published line of these tasks."""
    raw = spread[spread["space"] == "raw"]
    model_input = {
        (row["task"], row["variant"]): row
        for row in spread[spread["space"] == "model input"].to_dict("records")
    }
    lines = []
    for task, group in raw.groupby("task", sort=False):
        for row in group.to_dict("records"):
            lines.append(
                {
                    "task": task,
                    "prompts": f"{row['runs']} from {row['variant']}",
                    "norm (raw)": significant(row["mean_norm"]),
                    "variance of norms (raw)": _variance(row),
                    "squared distance to mean prompt (raw)": significant(row["mean_squared_distance"]),
                    "untrained: norm, variance, squared distance (raw)": ", ".join(
                        (
                            significant(row["initial_mean_norm"]),
                            significant(row["initial_norm_variance"]),
                            significant(row["initial_mean_squared_distance"]),
                        )
                    ),
                    "variance of norms (model input)": _variance(model_input[task, row["variant"]]),
                }
            )
        lines += [
            {
                "task": task,
                "prompts": line.source,
                "norm (raw)": significant(line.norm),
                "variance of norms (raw)": significant(line.variance),
                "squared distance to mean prompt (raw)": "–",
                "untrained: norm, variance, squared distance (raw)": "–",
                "variance of norms (model input)": "–",
            }
            for line in published
            if line.task == task
        ]
    return pd.DataFrame(lines)


def _variance(row: Mapping[Hashable, Any]) -> str:
    if row["runs"] < 2:
        return "–"
    low, high = (significant(row[f"norm_variance_{end}"], 2) for end in ("low", "high"))
    return f"{significant(row['norm_variance'], 2)} [{low}, {high}]"
