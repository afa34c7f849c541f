"""Precision at k: nearest tokens compared with the words that the model was taught, where these are known."""

from collections.abc import Iterator

import pandas as pd
import torch

from softprompt.analysis.neighbours import nearest_tokens
from softprompt.analysis.precision import SHUFFLES, precision_at_k
from softprompt.backbone import local_folder
from softprompt.files import read_json
from softprompt.report.formatting import format_range
from softprompt.report.registry import Section, section
from softprompt.settings import AnalysisSettings
from softprompt.study import CENTRED_SPACES, Study


@section(place=30)
def precision(study: Study, settings: AnalysisSettings) -> Section | None:
    """Precision at k of tuned and initial prompts; None if the taught words are not known for any task."""
    folder = local_folder(study.settings.model)
    if folder is None or not (folder / "truth.json").exists():
        return None
    truth = read_json(folder / "truth.json")
    tokenizer = study.backbone.tokenizer
    vocabulary = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    matrices = {"tuned": [prompt.matrix for prompt in study.prompts], "initial": study.initial_matrices}
    lines = []
    for (task, variant), group in study.labels.groupby(["task", "variant"], sort=False):
        if task not in truth:
            continue
        taught = tokenizer.convert_tokens_to_ids(truth[task]["words"])
        for space in CENTRED_SPACES:
            for kind, prompts in matrices.items():
                rows = study.in_space(torch.cat([prompts[index] for index in group.index]), space)
                nearest, _ = nearest_tokens(rows, study.vocabulary(space), settings.neighbours)
                label = {"task": task, "variant": variant, "space": space, "prompt": kind}
                lines.append(
                    label | {"k": settings.neighbours} | precision_at_k(nearest.numpy(), taught, vocabulary)
                )
    if not lines:
        return None
    table = pd.DataFrame(lines)
    return Section(
        title="Precision at k against the taught words",
        how=(
            f"This model was taught known wordings of each task's instruction. Precision at {settings.neighbours}: the "
            "share of the nearest tokens of all rows that are words of those wordings. Chance: the same after a shuffle of "
            f"the token names, {SHUFFLES:,} times; p is the share of shuffles with at least this precision. “Before "
            "tuning” is the initial prompt: precision that it already has was not learned. Findings and the table above "
            "are in the raw space; precision.csv has the model input, centred, too."
        ),
        findings=list(_findings(table)),
        digest=_digest(table),
        tables={"precision": table},
        names_spaces=True,
    )


def _findings(table: pd.DataFrame) -> Iterator[str]:
    raw = table[table["space"] == "raw"]
    for variant, group in raw.groupby("variant", sort=False):
        tuned, initial = group[group["prompt"] == "tuned"], group[group["prompt"] == "initial"]
        above, initial_above = ((kind["precision"] > kind["chance_high"]).sum() for kind in (tuned, initial))
        yield (
            f"Initialised from {variant}, {format_range(tuned['precision'])} of the nearest tokens (raw) are words that "
            f"the model was taught for the task, above 97.5% of the shuffles (chance: {format_range(tuned['chance'])}) on "
            f"{above} of {len(tuned)} tasks; before tuning {format_range(initial['precision'])}, above them on {initial_above}."
        )


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    lines = []
    raw = table[table["space"] == "raw"]
    for (variant, task), group in raw.groupby(["variant", "task"], sort=False):
        tuned, initial = (group[group["prompt"] == kind].iloc[0] for kind in ("tuned", "initial"))
        lines.append(
            {
                "task": task,
                "initialised from": variant,
                "tuned (raw)": f"{tuned['precision']:.0%}",
                "before tuning (raw)": f"{initial['precision']:.0%}",
                "chance (97.5% quantile)": f"{tuned['chance']:.0%} ({tuned['chance_high']:.0%})",
                "p": f"{tuned['p']:.4f}",
            }
        )
    return pd.DataFrame(lines)
