"""Similarity of the prompts of two tasks, and whether it correlates with transfer."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.analysis.similarity import MEASURES, activity_overlap, as_matrix, similarity_table
from softprompt.analysis.statistics import mantel
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.heat_map import heat_map
from softprompt.report.registry import Section, section
from softprompt.report.sections.transfer import transfer_grid
from softprompt.report.style import LINE, colour_of
from softprompt.settings import AnalysisSettings
from softprompt.study import SPACES, Study

# Name, space, function, and what the function compares for each run.
Measure = tuple[str, str, Callable[..., float], list[Any]]


@section(place=100)
def similarity(study: Study, settings: AnalysisSettings) -> Section | None:
    """Every measure of similarity and its correlation with transfer; None with only one task."""
    if study.labels["task"].nunique() < 2:
        return None
    transfer = transfer_grid(study)
    transfer = transfer[transfer["score"] == "exact match"]
    similarities, correlations, drawn = [], [], {}
    for variant, group in study.labels.groupby("variant", sort=False):
        tasks = list(dict.fromkeys(group["task"]))
        gains = transfer[transfer["variant"] == variant]
        gain_matrix = as_matrix(gains, "gain")
        for measure, space, function, items in _measures(study, list(group.index)):
            table = similarity_table(list(group["task"]), items, measure, function)
            table = table.assign(variant=variant, space=space)
            similarities.append(table)
            pairs = table.merge(gains[["source", "target", "gain"]], on=["source", "target"])
            pairs = pairs[pairs["source"] != pairs["target"]]
            if pairs["source"].nunique() < 3:
                continue
            matrices = (as_matrix(table, "similarity"), gain_matrix)
            correlation = mantel(*(matrix.loc[tasks, tasks].to_numpy() for matrix in matrices))
            label = {"measure": measure, "space": space, "variant": variant}
            correlations.append(label | correlation | _most_similar_is_best(pairs))
            drawn[variant, space, measure] = pairs, correlation
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
            "tasks, exact up to seven tasks; with four it cannot fall below 1/24. The table above leaves out the model "
            "input; similarity_correlation.csv has all."
        ),
        findings=list(_findings(correlation_table, default)),
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


def _most_similar_is_best(pairs: pd.DataFrame) -> dict[str, int]:
    """For how many targets the most similar other task is the only one whose prompts gain most."""
    hits = 0
    for _, group in pairs.groupby("target"):
        most_similar = group.sort_values("similarity").iloc[-1]
        hits += (group["gain"] >= most_similar["gain"]).sum() == 1
    return {"most_similar_is_best": int(hits), "targets": pairs["target"].nunique()}


@rc_context(STYLE)
def _figure(pairs: pd.DataFrame, correlation: dict[str, float], measure: str) -> Drawing:
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
                f"{row['most_similar_is_best']} of {row['targets']} tasks. The strongest of all {len(group)} measures is "
                f"{_strongest(group)}, not corrected for trying {len(group)}."
            )


def _strongest(group: pd.DataFrame) -> str:
    row = group.sort_values("spearman", key=abs).iloc[-1]
    return f"{row['measure']} ({row['space']}) with {row['spearman']:+.2f} (p={row['p']:.2f})"


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
                "most similar is best source": f"{row['most_similar_is_best']} of {row['targets']}",
            }
            for row in table[table["space"] != "model input"].to_dict("records")
        ]
    )
