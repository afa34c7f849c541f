"""Where the prompts lie: projection, norms, distances."""

from collections.abc import Iterator

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.geometry import distance_table, equidistance_table, nearest_run, norm_table
from softprompt.analysis.projection import projection_table
from softprompt.report.figures import norms as norms_figure
from softprompt.report.figures import projection as projection_figure
from softprompt.report.sections import Section, interval, spread
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

NEARLY = 0.1  # coefficient of variation
LEAST_POINTS = 4  # of which a plane can show an arrangement


def projection(study: Study, settings: AnalysisSettings) -> Section | None:
    """All prompts as points in a plane; None of fewer than four."""
    if len(study.prompts) < LEAST_POINTS:
        return None
    tables, perplexity = [], 0.0
    for space in ("raw", "model input, centred"):
        matrices = [study.in_space(prompt.matrix, space) for prompt in study.prompts]
        found, perplexity = projection_table(study.labels, matrices)
        tables.append(found.assign(space=space))
    points = pd.concat(tables, ignore_index=True)
    return Section(
        "Prompts in a plane",
        "t-SNE and PCA of the prompts' rows laid end to end, shorter prompts lengthened by zeros; prompts of one task "
        f"and start are joined. openTSNE, exact, started from PCA, seed 0, perplexity {perplexity:.3g} (30 where there "
        "are enough prompts). In t-SNE only who is near whom means something.",
        list(_clustered(study, settings.alignment)),
        None,
        {"tsne": projection_figure(points, perplexity)},
        {"tsne": points},
    )


def norms(study: Study, settings: AnalysisSettings) -> Section:
    """Norms, means and variances; distances within and between tasks; are a task's prompts equidistant?"""
    spaces = {
        "raw": [prompt.matrix for prompt in study.prompts],
        "model input": [study.backbone.model_input(prompt.matrix) for prompt in study.prompts],
    }
    starts = {
        "raw": study.starts,
        "model input": [study.backbone.model_input(start) for start in study.starts],
    }
    table = pd.concat(
        [
            norm_table(study.labels, prompts).assign(
                space=space,
                start_norm=norm_table(study.labels, starts[space])["row_norm"],
            )
            for space, prompts in spaces.items()
        ],
        ignore_index=True,
    )
    tables = {"norms": table}
    if len(study.prompts) > 1:
        tables |= _distances(study, spaces, settings.alignment)
    return Section(
        "Norms and distances",
        "A BLOOM model puts a LayerNorm behind its embeddings, which takes scale and mean away from every row: raw "
        "norms hold free directions, and only the figures as read speak of what the model sees. A distance is "
        f"‖A − B‖ / √rows under the alignment '{settings.alignment}'. Nearly equidistant means a small coefficient of "
        "variation among the runs that left their start; its interval resamples them.",
        [*(_equidistance(tables["equidistance"]) if "equidistance" in tables else []), *_grown(table)],
        _digest(table),
        {"norms": norms_figure(table)},
        tables,
    )


def _distances(
    study: Study, spaces: dict[str, list[Float[Tensor, "_ d"]]], alignment: str
) -> dict[str, pd.DataFrame]:
    distances, equidistance = [], []
    moved = {run.id for run, result in zip(study.runs, study.results, strict=True) if result["best_step"]}
    for space, prompts in spaces.items():
        found = distance_table(list(study.labels["run"]), list(study.labels["task"]), prompts, alignment)
        variants = dict(zip(study.labels["run"], study.labels["variant"], strict=True))
        found = found.assign(
            first_variant=found["first"].map(variants),
            second_variant=found["second"].map(variants),
            space=space,
        )
        distances.append(found)
        alike = found["first_variant"] == found["second_variant"]
        # Those that kept a common start would be one point.
        alike &= found["first"].isin(moved) & found["second"].isin(moved)
        for variant, own in found[alike].groupby("first_variant", sort=False):
            equidistance.append(equidistance_table(own).assign(variant=variant, space=space))
    return {
        "equidistance": pd.concat(equidistance, ignore_index=True) if equidistance else pd.DataFrame(),
        "distances": pd.concat(distances, ignore_index=True),
    }


def _clustered(study: Study, alignment: str) -> Iterator[str]:
    """In the full space, where the plane cannot mislead."""
    for variant, own in study.labels.groupby("variant", sort=False):
        runs, tasks = list(own["run"]), list(own["task"])
        if len(set(tasks)) < 2 or len(runs) < LEAST_POINTS:
            continue
        prompts = [study.prompts[index].matrix for index in own.index]
        nearest = nearest_run(distance_table(runs, tasks, prompts, alignment))
        by_run = own.set_index("run")
        same = {
            name: sum(by_run[name][run] == by_run[name][other] for run, other in nearest.items())
            for name in ("task", "seed")
        }
        chance = sum((tasks.count(task) - 1) / (len(tasks) - 1) for task in tasks)
        yield (
            f"From {variant}, the nearest other prompt (Frobenius, {alignment}) is of the same task for {same['task']} of "
            f"{len(runs)} prompts (by chance {chance:.0f}), and of the same seed for {same['seed']}."
        )


def _grown(table: pd.DataFrame) -> Iterator[str]:
    raw = table[table["space"] == "raw"]
    grown = raw["row_norm"] / raw["start_norm"] - 1
    if abs(grown.mean()) >= 0.005:
        yield (
            f"As stored, rows are {grown.mean():+.0%} longer than they were at the start; they have grown in "
            f"{(grown > 0).sum()} of {len(raw)} runs."
        )


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (task, variant), own in table.groupby(["task", "variant"], sort=False):
        raw, read = own[own["space"] == "raw"], own[own["space"] == "model input"]
        rows.append(
            {
                "task": task,
                "from": variant,
                "norm": f"{raw['norm'].mean():.2f} ± {raw['norm'].std(ddof=0):.2f}",
                "mean": f"{raw['mean'].mean():.4f}",
                "variance": f"{raw['variance'].mean():.4f}",
                "norm, model input": f"{read['norm'].mean():.2f} ± {read['norm'].std(ddof=0):.2f}",
                "variance, model input": f"{read['variance'].mean():.4f}",
            }
        )
    return pd.DataFrame(rows)


def _equidistance(table: pd.DataFrame) -> Iterator[str]:
    if table.empty:
        return
    read = table[(table["space"] == "model input") & table["low"].notna()]
    for variant, own in read.groupby("variant", sort=False):
        yield (
            f"Distances between prompts of one task, from {variant}, differ by {spread(own['variation'])} of their mean as "
            f"the model reads them (intervals within {interval(100 * own['low'].min(), 100 * own['high'].max(), '.0f')}%): "
            f"{'nearly equidistant' if own['high'].max() < NEARLY else 'not shown to be nearly equidistant'}."
        )
