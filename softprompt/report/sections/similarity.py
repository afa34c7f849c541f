"""Similarity of the prompts of two tasks, and whether it correlates with transfer."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.analysis.best_source import best_source_hits
from softprompt.analysis.mantel import mantel_table
from softprompt.analysis.similarity import MEASURES, activity_overlap, as_matrix, similarity_table
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.heat_map import heat_map
from softprompt.report.registry import Claim, Question, Section, Verdict, section
from softprompt.report.sections.transfer import transfer_grid
from softprompt.report.style import LINE, colour_of
from softprompt.settings import AnalysisSettings
from softprompt.study import SPACES, Study

# Name, space, function, and what the function compares for each run.
Measure = tuple[str, str, Callable[..., float], list[Any]]

SIGNIFICANT = 0.05


@section(place=100)
def similarity(study: Study, settings: AnalysisSettings) -> Section | None:
    """Every measure of similarity and its correlation with transfer; None with only one task."""
    if study.labels["task"].nunique() < 2:
        return None
    transfer = transfer_grid(study)
    transfer = transfer[transfer["score"] == "exact match"]
    similarities: list[pd.DataFrame] = []
    correlations, drawn = [], {}
    for variant, group in study.labels.groupby("variant", sort=False):
        tasks = list(dict.fromkeys(group["task"]))
        gains = transfer[transfer["variant"] == variant]
        tables = {}
        for measure, space, function, items in _measures(study, list(group.index)):
            table = similarity_table(list(group["task"]), items, measure, function)
            tables[measure, space] = table.assign(variant=variant, space=space)
        similarities += tables.values()
        if len(tasks) < 3:
            continue
        for line in _correlations(tables, gains, tasks):
            correlations.append({"variant": variant, **line})
            table = tables[line["measure"], line["space"]]
            pairs = table.merge(gains[["source", "target", "gain"]], on=["source", "target"])
            pairs = pairs[pairs["source"] != pairs["target"]]
            drawn[variant, line["space"], line["measure"]] = pairs, line
    table = pd.concat(similarities, ignore_index=True)
    correlation_table = pd.DataFrame(correlations)
    default = f"frobenius ({settings.alignment})"
    first = study.labels["variant"].iloc[0]
    shown = table[(table["measure"] == default) & (table["space"] == "raw") & (table["variant"] == first)]
    shown = shown.dropna(subset="similarity")
    title = f"negative Frobenius distance, raw\n({settings.alignment}, from {first})"
    drawings = {"similarity": heat_map(shown, "similarity", title)} if len(shown) else {}
    if (first, "raw", default) in drawn:
        drawings["similarity_vs_transfer"] = _figure(*drawn[first, "raw", default], f"{default}, raw")
    return Section(
        title="Similarity and transfer",
        how=(
            "Frobenius distances need prompts of equal length: the figures use the alignment "
            f"'{settings.alignment}', similarity.csv has all. Activity is the cosine between the patterns of active "
            "feed-forward neurons at an end-of-sequence token behind the two prompts. p is Mantel's permutation test over "
            "tasks, exact up to seven tasks; with four it cannot fall below 1/24. The corrected p takes into account that all "
            "measures of a variant were tried (max-T, Westfall and Young 1993). Chance is a source drawn at random for each "
            "target. The table above leaves out the model input; similarity_correlation.csv has all."
        ),
        findings=list(_findings(correlation_table, default)),
        claims=list(_claims(correlation_table, default, first, drawings)),
        digest=_digest(correlation_table),
        drawings=drawings,
        tables={"similarity_correlation": correlation_table, "similarity": table},
        names_spaces=True,
    )


def _measures(study: Study, indices: list[int]) -> Iterator[Measure]:
    prompts = [study.prompts[index].matrix for index in indices]
    for space in SPACES:
        in_space = [study.in_space(prompt, space) for prompt in prompts]
        for measure, function in MEASURES.items():
            yield measure, space, function, in_space
    activity = [study.backbone.feed_forward_activity(prompt) for prompt in prompts]
    if all(pattern is not None for pattern in activity):
        yield "activity", "neurons", activity_overlap, activity


def _correlations(
    tables: Mapping[tuple[str, str], pd.DataFrame], gains: pd.DataFrame, tasks: list[str]
) -> list[dict[str, Any]]:
    """Each measure's correlation with the gains, and how often the most similar task is the best source.

    Args:
        tables: similarities by measure and space.
        gains: by source and target.
        tasks: those of the runs that are compared.
    """
    gain = as_matrix(gains, "gain").loc[tasks, tasks].to_numpy()
    matrices = {
        f"{measure}, {space}": as_matrix(table, "similarity").loc[tasks, tasks].to_numpy()
        for (measure, space), table in tables.items()
    }
    tests = mantel_table(matrices, gain).set_index("measure")
    return [
        {"measure": measure, "space": space, **dict(tests.loc[name]), **best_source_hits(matrix, gain)}
        for (measure, space), (name, matrix) in zip(tables, matrices.items(), strict=True)
    ]


@rc_context(STYLE)
def _figure(pairs: pd.DataFrame, correlation: dict[str, Any], measure: str) -> Drawing:
    """A point per ordered pair of different tasks."""
    figure = Figure(figsize=(4.4, 3.2), layout="constrained")
    drawing = Drawing(figure)
    axis = figure.subplots()
    colours = colour_of(list(pairs["source"]))
    for row in pairs.to_dict("records"):
        point = axis.scatter(row["similarity"], row["gain"], color=colours[row["source"]], s=28)
        label = f"{row['source']} → {row['target']}"
        axis.annotate(label, (row["similarity"], row["gain"]), (4, 3), textcoords="offset points", fontsize=7)
        drawing.tip(point, f"{label}: similarity {row['similarity']:.4g}, gain {row['gain']:+.1f} points")
    axis.axhline(0, color=LINE, lw=0.8)
    axis.set(
        title=f"Spearman {correlation['spearman']:+.2f}, p={correlation['p']:.2f} (Mantel)",
        xlabel=f"similarity: {measure}",
        ylabel="gain over no prompt, points",
    )
    axis.margins(0.15)
    return drawing


def _findings(table: pd.DataFrame, default: str) -> Iterator[str]:
    if table.empty:
        yield "A correlation with transfer needs three tasks or more."
        return
    known = table[np.isfinite(table["spearman"])]
    for variant, group in known.groupby("variant", sort=False):
        of_default = group[(group["measure"] == default) & (group["space"] == "raw")]
        for row in of_default.to_dict("records"):
            yield (
                f"Initialised from {variant}, Frobenius similarity (raw) and transfer have a rank correlation of "
                f"{row['spearman']:+.2f} (p={row['p']:.2f}); the most similar task is the best source for "
                f"{_hits(row)} (at least so many: p={row['p_by_chance']:.2f}). The strongest of all {len(group)} measures is "
                f"{_strongest(group)}."
            )


def _claims(
    table: pd.DataFrame, default: str, variant: str, drawings: Mapping[str, Drawing]
) -> Iterator[Claim]:
    """The question of the reference study, on its own measure (Frobenius, raw) and the first variant."""
    if table.empty:
        return
    of_variant = table[(table["variant"] == variant) & np.isfinite(table["spearman"])]
    of_default = of_variant[(of_variant["measure"] == default) & (of_variant["space"] == "raw")]
    for row in of_default.to_dict("records"):
        shown = row["p_adjusted"] <= SIGNIFICANT and row["spearman"] > 0
        yield Claim(
            Question.TRANSFER,
            "Tasks whose prompts are more similar transfer better.",
            Verdict.HOLDS if shown else Verdict.OPEN,
            f"Frobenius similarity (raw, from {variant}) and gain: rank correlation {row['spearman']:+.2f} (p={row['p']:.2f}; "
            f"corrected for trying {len(of_variant)} measures: {row['p_adjusted']:.2f}). No p can be below "
            f"{row['smallest_p']:.2g} with so many tasks. The most similar task is the best source for {_hits(row)}.",
            "similarity_vs_transfer" if "similarity_vs_transfer" in drawings else None,
        )


def _strongest(group: pd.DataFrame) -> str:
    row = group.sort_values("spearman", key=abs).iloc[-1]
    return (
        f"{row['measure']} ({row['space']}) with {row['spearman']:+.2f} (p={row['p']:.2f}; "
        f"corrected for trying {len(group)}: p={row['p_adjusted']:.2f})"
    )


def _hits(row: dict[Hashable, Any]) -> str:
    """`2 of 4, by chance 1.3`."""
    return f"{row['most_similar_is_best']} of {row['targets']}, by chance {row['expected_by_chance']:.1f}"


def _digest(table: pd.DataFrame) -> pd.DataFrame | None:
    if table.empty:
        return None
    return pd.DataFrame(
        [
            {
                "measure": row["measure"],
                "space": row["space"],
                "initialised from": row["variant"],
                "rank correlation": f"{row['spearman']:+.2f}" if np.isfinite(row["spearman"]) else "–",
                "p": f"{row['p']:.2f}" if np.isfinite(row["p"]) else "–",
                "corrected p": f"{row['p_adjusted']:.2f}" if np.isfinite(row["p_adjusted"]) else "–",
                "most similar is best source": _hits(row),
            }
            for row in table[table["space"] != "model input"].to_dict("records")
        ]
    )
