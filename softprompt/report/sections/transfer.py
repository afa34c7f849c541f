"""What a prompt does for another task, and whether similarity tells."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from softprompt.analysis.similarity import MEASURES, as_matrix, similarity_table
from softprompt.analysis.statistics import mantel
from softprompt.analysis.transfer import transfer_table
from softprompt.report.figures import heat_map, similarity_against_transfer
from softprompt.report.sections import Section
from softprompt.report.study import Study
from softprompt.settings import AnalysisSettings


def transfer(study: Study) -> Section:
    """Every prompt on every task."""
    table = _grid(study)
    drawings = {}
    for init, own in table[table["score"] == "exact match"].groupby("init", sort=False):
        name = "transfer" if init == "text" else f"transfer_{init}"
        title = f"points of exact match over no prompt\n(from {init}; * interval without 0)"
        drawings[name] = heat_map(own, "gain", title, " points", "sure", diverging=True)
    return Section(
        "Transfer",
        "Every run's best prompt on every task's validation set, without training: change in exact match over no "
        "prompt, in points, mean over runs. The 95% interval resamples runs and examples, each example paired with "
        "its own answer without a prompt. The table has the same for rank accuracy.",
        list(_findings(table[table["score"] == "exact match"])),
        drawings,
        {"transfer": table},
    )


def _grid(study: Study) -> pd.DataFrame:
    """Every prompt on every task: `transfer_table` in points, by start and by score."""
    grids = []
    for score in ("right", "likeliest"):
        for init, own in study.labels.groupby("init", sort=False):
            matrices = [study.prompts[index].matrix for index in own.index]
            tuned, bare = {}, {}
            for target in study.targets:
                nothing, *answers = study.answers([[m] for m in (matrices[0][:0], *matrices)], target)
                tuned[target] = np.concatenate([getattr(found, score) for found in answers])
                bare[target] = getattr(nothing, score)[0]
            grid = transfer_table(list(own["task"]), tuned, bare)
            grids.append(grid.assign(init=init, score="exact match" if score == "right" else "rank accuracy"))
    table = pd.concat(grids, ignore_index=True)
    table[["gain", "low", "high"]] *= 100
    table["sure"] = (table["low"] > 0) | (table["high"] < 0)
    return table


def _findings(table: pd.DataFrame) -> Iterator[str]:
    for init, own in table[table["source"] != table["target"]].groupby("init", sort=False):
        ordered = own.sort_values("gain", ascending=False).to_dict("records")
        for row in (ordered[0], ordered[-1]):
            gained = "gains" if row["gain"] >= 0 else "loses"
            yield (
                f"{row['source']}'s prompt (from {init}) on {row['target']}: {gained} {abs(row['gain']):.0f} points "
                f"over no prompt (interval {row['low']:+.0f} to {row['high']:+.0f}, n={row['n']})."
            )


def similarity(study: Study, settings: AnalysisSettings) -> Section | None:
    """How alike the tasks' prompts are, by each measure, and whether that tells what transfers; None of one task."""
    if study.labels["task"].nunique() < 2:
        return None
    grid = _grid(study)
    grid = grid[grid["score"] == "exact match"]
    similarities, correlations, pairs_of = [], [], {}
    for init, own in study.labels.groupby("init", sort=False):
        prompts = [study.prompts[index].matrix for index in own.index]
        gains = grid[grid["init"] == init]
        for space, items in {"raw": prompts, "as read": [study.backbone.as_read(p) for p in prompts]}.items():
            for measure, function in MEASURES.items():
                found = similarity_table(list(own["task"]), items, measure, function)
                found = found.assign(init=init, space=space)
                similarities.append(found)
                pairs = found.merge(gains[["source", "target", "gain"]], on=["source", "target"])
                pairs = pairs[pairs["source"] != pairs["target"]]
                if pairs["source"].nunique() < 3:
                    continue
                correlation = mantel(
                    as_matrix(found, "similarity").to_numpy(), as_matrix(gains, "gain").to_numpy()
                )
                best = _nearest_is_best(pairs)
                correlations.append({"measure": measure, "space": space, "init": init, **correlation, **best})
                pairs_of[init, space, measure] = pairs, correlation
    table = pd.concat(similarities, ignore_index=True)
    correlation_table = pd.DataFrame(correlations)
    drawings = {}
    default = f"frobenius ({settings.alignment})"
    first = next(iter(dict.fromkeys(study.labels["init"])))
    shown = table[(table["measure"] == default) & (table["space"] == "raw") & (table["init"] == first)]
    drawings["similarity"] = heat_map(
        shown.dropna(subset="similarity"),
        "similarity",
        f"minus Frobenius distance\n({settings.alignment}, from {first})",
    )
    if (first, "raw", default) in pairs_of:
        pairs, correlation = pairs_of[first, "raw", default]
        drawings["similarity_vs_transfer"] = similarity_against_transfer(pairs, correlation, default)
    return Section(
        "Similarity, and whether it tells what transfers",
        f"Frobenius distances need prompts of equal length: '{settings.alignment}' is the alignment drawn, the table has "
        "all. p is Mantel's permutation test over tasks, which cannot fall below 1/24 with four of them.",
        list(_correlated(correlation_table)),
        drawings,
        {"correlation": correlation_table, "similarity": table},
    )


def _nearest_is_best(pairs: pd.DataFrame) -> dict[str, int]:
    """For how many targets the most similar other task is also the one whose prompt gains most."""
    hits = 0
    for _, own in pairs.groupby("target"):
        nearest = own.sort_values("similarity").iloc[-1]
        hits += nearest["gain"] == own["gain"].max()
    return {"nearest_is_best": int(hits), "targets": pairs["target"].nunique()}


def _correlated(table: pd.DataFrame) -> Iterator[str]:
    for row in table.to_dict("records"):
        if (
            row["space"] == "raw"
            and np.isfinite(row["spearman"])
            and row["measure"].startswith(("frobenius", "cosine"))
        ):
            yield (
                f"{row['measure']}, from {row['init']}: rank correlation with transfer {row['spearman']:+.2f} "
                f"(p={row['p']:.2f}); the most similar task is the best source for {row['nearest_is_best']} of "
                f"{row['targets']} tasks."
            )
