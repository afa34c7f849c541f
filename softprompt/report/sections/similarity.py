"""How alike the prompts of two tasks are, and whether that tells what transfers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from softprompt.analysis.similarity import MEASURES, activity_overlap, as_matrix, similarity_table
from softprompt.analysis.statistics import mantel
from softprompt.report.figures import heat_map, similarity_against_transfer
from softprompt.report.sections import Section
from softprompt.report.sections.transfer import transfer_grid
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

Measured = tuple[str, str, Callable[..., float], list[Any]]  # measure, space, function, what it is applied to


def similarity(study: Study, settings: AnalysisSettings) -> Section | None:
    """Every measure of similarity, and its correlation with transfer; None where there is but one task."""
    if study.labels["task"].nunique() < 2:
        return None
    grid = transfer_grid(study)
    grid = grid[grid["score"] == "exact match"]
    similarities, correlations, pairs_of = [], [], {}
    for variant, own in study.labels.groupby("variant", sort=False):
        gains = grid[grid["variant"] == variant]
        for measure, space, function, items in _measured(study, list(own.index)):
            found = similarity_table(list(own["task"]), items, measure, function)
            found = found.assign(variant=variant, space=space)
            similarities.append(found)
            pairs = found.merge(gains[["source", "target", "gain"]], on=["source", "target"])
            pairs = pairs[pairs["source"] != pairs["target"]]
            if pairs["source"].nunique() < 3:
                continue
            names = list(dict.fromkeys(own["task"]))
            alike, gained = as_matrix(found, "similarity"), as_matrix(gains, "gain")
            correlation = mantel(alike.loc[names, names].to_numpy(), gained.loc[names, names].to_numpy())
            best = _nearest_is_best(pairs)
            correlations.append(
                {"measure": measure, "space": space, "variant": variant, **correlation, **best}
            )
            pairs_of[variant, space, measure] = pairs, correlation
    table = pd.concat(similarities, ignore_index=True)
    correlation_table = pd.DataFrame(correlations)
    default = f"frobenius ({settings.alignment})"
    first = study.labels["variant"].iloc[0]
    shown = table[(table["measure"] == default) & (table["space"] == "raw") & (table["variant"] == first)]
    title = f"minus Frobenius distance\n({settings.alignment}, from {first})"
    shown = shown.dropna(subset="similarity")
    drawings = {"similarity": heat_map(shown, "similarity", title)} if len(shown) else {}
    if (first, "raw", default) in pairs_of:
        pairs, correlation = pairs_of[first, "raw", default]
        drawings["similarity_vs_transfer"] = similarity_against_transfer(pairs, correlation, default)
    return Section(
        "Similarity, and whether it tells what transfers",
        f"Frobenius distances need prompts of equal length: '{settings.alignment}' is the alignment drawn, the table has "
        "all. Activity compares which feed-forward neurons two prompts make fire at a neutral token (cosine of the two "
        "patterns). p is "
        "Mantel's permutation test over tasks, exact, which cannot fall below 1/24 with four of them.",
        list(_findings(correlation_table, default)),
        _digest(correlation_table),
        drawings,
        {"correlation": correlation_table, "similarity": table},
    )


def _measured(study: Study, runs: list[int]) -> Iterator[Measured]:
    prompts = [study.prompts[index].matrix for index in runs]
    for space, items in {
        "raw": prompts,
        "model input": [study.backbone.model_input(p) for p in prompts],
    }.items():
        for measure, function in MEASURES.items():
            yield measure, space, function, items
    activity = [study.backbone.feed_forward_activity(prompt) for prompt in prompts]
    if all(found is not None for found in activity):
        yield "activity", "neurons", activity_overlap, activity


def _nearest_is_best(pairs: pd.DataFrame) -> dict[str, int]:
    """For how many targets the most similar other task is also the only one whose prompt gains most."""
    hits = 0
    for _, own in pairs.groupby("target"):
        nearest = own.sort_values("similarity").iloc[-1]
        hits += (own["gain"] >= nearest["gain"]).sum() == 1
    return {"nearest_is_best": int(hits), "targets": pairs["target"].nunique()}


def _findings(table: pd.DataFrame, default: str) -> Iterator[str]:
    if table.empty:
        yield "A correlation with transfer needs three tasks or more."
        return
    known = table[np.isfinite(table["spearman"])]
    for variant, own in known.groupby("variant", sort=False):
        main = own[(own["measure"] == default) & (own["space"] == "raw")]
        for row in main.to_dict("records"):
            yield (
                f"From {variant}, Frobenius similarity and transfer have a rank correlation of {row['spearman']:+.2f} "
                f"(p={row['p']:.2f}); the most similar task is the best source for {row['nearest_is_best']} of "
                f"{row['targets']} tasks. Of all {len(own)} measures the strongest is "
                f"{_strongest(own)}, before any correction for having tried {len(own)}."
            )


def _strongest(own: pd.DataFrame) -> str:
    row = own.sort_values("spearman", key=abs).iloc[-1]
    return f"{row['measure']} ({row['space']}) with {row['spearman']:+.2f} (p={row['p']:.2f})"


def _digest(table: pd.DataFrame) -> pd.DataFrame | None:
    if table.empty:
        return None
    return pd.DataFrame(
        [
            {
                "measure": row["measure"],
                "space": row["space"],
                "from": row["variant"],
                "rank correlation": f"{row['spearman']:+.2f}" if np.isfinite(row["spearman"]) else "–",
                "p": f"{row['p']:.2f}" if np.isfinite(row["p"]) else "–",
                "nearest is best source": f"{row['nearest_is_best']} of {row['targets']}",
            }
            for row in table[table["space"] != "model input"].to_dict("records")
        ]
    )
