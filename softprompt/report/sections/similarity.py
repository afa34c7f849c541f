"""Similarity of the prompts of two tasks, and whether it correlates with transfer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from softprompt.analysis.best_source import best_source_hits
from softprompt.analysis.copies import without_copies
from softprompt.analysis.mantel import mantel_table
from softprompt.analysis.similarity import MEASURES, activity_overlap, as_matrix, similarity_table
from softprompt.report.drawing import Drawing
from softprompt.report.formatting import figure_name
from softprompt.report.registry import Section, section
from softprompt.report.similarity_claim import hits_of, similarity_claim
from softprompt.report.similarity_figures import distance_figure, scatter_figure
from softprompt.report.transfer_grid import EXACT_MATCH, RANK_ACCURACY, transfer_grid
from softprompt.settings import AnalysisSettings
from softprompt.study import SPACES, Study

GAINS = (EXACT_MATCH, RANK_ACCURACY)

# Name, space, function, and what the function compares for each run.
Measure = tuple[str, str, Callable[..., float], list[Any]]


@section(place=100, needs_list=True)
def similarity(study: Study, settings: AnalysisSettings) -> Section | None:
    """Every measure of similarity and its correlation with transfer; None with only one task."""
    if study.labels["task"].nunique() < 2:
        return None
    transfer = transfer_grid(study)
    default = f"frobenius ({settings.alignment})"
    similarities: list[pd.DataFrame] = []
    correlations: list[dict[str, Any]] = []
    maps: dict[str, Drawing] = {}
    scatters: dict[str, Drawing] = {}
    kept = without_copies(study.labels, [prompt.matrix for prompt in study.prompts])
    for name, group in kept.groupby("variant", sort=False):
        variant, tasks = str(name), list(dict.fromkeys(group["task"]))
        tables = {}
        for measure, space, function, items in _measures(study, list(group.index)):
            table = similarity_table(list(group["task"]), items, measure, function)
            tables[measure, space] = table.assign(variant=variant, space=space)
        similarities += tables.values()
        of_default = tables[default, "raw"]
        initial = similarity_table(
            list(group["task"]), [study.initial_matrices[i] for i in group.index], default, MEASURES[default]
        )
        if drawing := distance_figure(of_default, initial, variant, settings.alignment):
            maps[figure_name("similarity", variant)] = drawing
        if len(tasks) < 3:
            continue
        gains = transfer[transfer["variant"] == variant]
        lines = [{"variant": variant, **line} for line in _correlations(tables, gains, tasks)]
        correlations += lines
        own = [line for line in lines if (line["measure"], line["space"]) == (default, "raw")]
        pairs = of_default[of_default["source"] != of_default["target"]]
        for gain in GAINS:
            of_gain = gains.loc[gains["score"] == gain, ["source", "target", "gain"]]
            pairs = pairs.merge(of_gain.rename(columns={"gain": gain}), on=["source", "target"])
        scatters[figure_name("similarity_vs_transfer", variant)] = scatter_figure(
            pairs, own, f"{default}, raw", variant
        )
    table = pd.DataFrame(correlations)
    claims = []
    if len(table):
        of_study = table[(table["measure"] == default) & (table["space"] == "raw")]
        claim = similarity_claim(of_study, table.drop(of_study.index), next(iter(scatters)))
        claims = [claim] if claim else []
    return Section(
        title="Similarity and transfer",
        how=(
            "Similarity is the mean over pairs of runs; of several runs of a task with exactly the same prompt one counts. A "
            "Frobenius distance is ‖A − B‖ / √rows, and its negative is the similarity. It needs prompts of equal length: "
            f"the figures use the alignment '{settings.alignment}', similarity.csv has all. Activity is the cosine between "
            "the patterns of active feed-forward neurons at an end-of-sequence token behind the two prompts. Every measure "
            "is correlated with the gain over no prompt in exact match and in rank accuracy. p is Mantel's permutation test "
            "over tasks, exact up to seven tasks; with four it cannot fall below 1/24. The corrected p takes into account "
            "that all measures of an initialisation were tried with both gains (max-T, Westfall and Young 1993). Chance is a "
            "source drawn at random for each target. The first table leaves out the model input; "
            "similarity_correlation.csv has all."
        ),
        findings=list(_findings(table, default)),
        claims=claims,
        digest=_digest(table),
        drawings=maps | scatters,
        tables={"similarity_correlation": table, "similarity": pd.concat(similarities, ignore_index=True)},
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
    """Each measure's correlation with each gain, and how often the most similar task is the best source.

    Args:
        tables: similarities by measure and space.
        gains: by score, source and target.
        tasks: those of the runs that are compared.
    """
    of_gain = {
        name: as_matrix(gains[gains["score"] == name], "gain").loc[tasks, tasks].to_numpy() for name in GAINS
    }
    matrices = {
        f"{measure}, {space}": as_matrix(table, "similarity").loc[tasks, tasks].to_numpy()
        for (measure, space), table in tables.items()
    }
    tests = mantel_table(matrices, of_gain).set_index(["measure", "gain"]).to_dict("index")
    return [
        {"measure": measure, "space": space, "gain": gain}
        | {str(column): value for column, value in tests[name, gain].items()}
        | best_source_hits(matrix, of_gain[gain])
        for (measure, space), (name, matrix) in zip(tables, matrices.items(), strict=True)
        for gain in GAINS
    ]


def _findings(table: pd.DataFrame, default: str) -> Iterator[str]:
    if table.empty:
        yield "A correlation with transfer needs three tasks or more."
        return
    known = table[table["spearman"].notna()]
    for variant, group in known.groupby("variant", sort=False):
        parts = [
            f"{row['spearman']:+.2f} with the gain in {row['gain']} (p={row['p']:.2f}; the most similar task is the best "
            f"source for {hits_of(row)}, at least so many: p={row['p_by_chance']:.2f})"
            for row in group[(group["measure"] == default) & (group["space"] == "raw")].to_dict("records")
        ]
        if parts:
            yield (
                f"Initialised from {variant}, Frobenius similarity (raw) has a rank correlation of {' and '.join(parts)}. The "
                f"strongest of all {len(group)} pairs of measure and gain is {_strongest(group)}."
            )


def _strongest(group: pd.DataFrame) -> str:
    row = group.sort_values("spearman", key=abs).iloc[-1]
    return (
        f"{row['measure']} ({row['space']}) with the gain in {row['gain']}: {row['spearman']:+.2f} (p={row['p']:.2f}; "
        f"corrected for trying {len(group)}: p={row['p_adjusted']:.2f})"
    )


def _digest(table: pd.DataFrame) -> pd.DataFrame | None:
    if table.empty:
        return None
    shown = table[table["space"] != "model input"]
    lines = []
    for (variant, measure, space), group in shown.groupby(["variant", "measure", "space"], sort=False):
        line = {"measure": measure, "space": space, "initialised from": variant}
        for row in group.to_dict("records"):
            line[f"{row['gain']}: rank correlation"] = (
                f"{row['spearman']:+.2f} (p={row['p']:.2f}, corrected {row['p_adjusted']:.2f})"
                if np.isfinite(row["spearman"])
                else "–"
            )
            line[f"{row['gain']}: most similar is best source"] = hits_of(row)
        lines.append(line)
    return pd.DataFrame(lines)
