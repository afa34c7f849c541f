"""Where the prompts lie: projection, norms, distances."""

from collections.abc import Iterator

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.geometry import distance_table, equidistance_table, norm_table
from softprompt.analysis.projection import projection_table
from softprompt.report.figures import norms as norms_figure
from softprompt.report.figures import projection as projection_figure
from softprompt.report.sections import Section
from softprompt.report.study import Study
from softprompt.settings import AnalysisSettings

LEAST_POINTS = 4  # of which a plane can show an arrangement


def projection(study: Study) -> Section | None:
    """All prompts as points in a plane; None of fewer than four."""
    if len(study.prompts) < LEAST_POINTS:
        return None
    points, perplexity = projection_table(study.labels, [prompt.matrix for prompt in study.prompts])
    return Section(
        "Prompts in a plane",
        "t-SNE and PCA of the prompts' rows laid end to end, shorter prompts lengthened by zeros; prompts of one task "
        f"and start are joined. openTSNE, exact, started from PCA, seed 0, perplexity {perplexity:.3g} (30 where there "
        "are enough prompts). In t-SNE only who is near whom means something.",
        [],
        {"tsne": projection_figure(points, perplexity)},
        {"tsne": points},
    )


def norms(study: Study, settings: AnalysisSettings) -> Section:
    """Norms, means and variances; distances within and between tasks; are a task's prompts equidistant?"""
    spaces = {
        "raw": [prompt.matrix for prompt in study.prompts],
        "as read": [study.backbone.as_read(prompt.matrix) for prompt in study.prompts],
    }
    starts = {"raw": study.starts, "as read": [study.backbone.as_read(start) for start in study.starts]}
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
        "variation; its interval resamples the runs.",
        list(_equidistance(tables["equidistance"])) if "equidistance" in tables else [],
        {"norms": norms_figure(table)},
        tables,
    )


def _distances(
    study: Study, spaces: dict[str, list[Float[Tensor, "_ d"]]], alignment: str
) -> dict[str, pd.DataFrame]:
    distances, equidistance = [], []
    for space, prompts in spaces.items():
        found = distance_table(list(study.labels["run"]), list(study.labels["task"]), prompts, alignment)
        inits = dict(zip(study.labels["run"], study.labels["init"], strict=True))
        found = found.assign(
            first_init=found["first"].map(inits), second_init=found["second"].map(inits), space=space
        )
        distances.append(found)
        for init, own in found[found["first_init"] == found["second_init"]].groupby("first_init", sort=False):
            equidistance.append(equidistance_table(own).assign(init=init, space=space))
    return {
        "equidistance": pd.concat(equidistance, ignore_index=True) if equidistance else pd.DataFrame(),
        "distances": pd.concat(distances, ignore_index=True),
    }


def _equidistance(table: pd.DataFrame) -> Iterator[str]:
    if table.empty:
        return
    read = table[(table["space"] == "as read") & table["low"].notna()]
    for init, own in read.groupby("init", sort=False):
        parts = [
            f"{row['task']} {row['variation']:.0%} ({row['low']:.0%} to {row['high']:.0%})"
            for row in own.to_dict("records")
        ]
        yield (
            f"Distances between prompts of one task that started from {init} differ, as the model reads them, by "
            f"this share of their mean: {', '.join(parts)}."
        )
