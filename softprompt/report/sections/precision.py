"""How far to trust the readings: scored where the words that the model was taught are known."""

from collections.abc import Iterator

import pandas as pd
import torch

from softprompt.analysis.neighbours import nearest_tokens
from softprompt.analysis.precision import precision_against_truth
from softprompt.backbone import local_folder
from softprompt.files import read_json
from softprompt.report.sections import Section, spread
from softprompt.report.sections.neighbours import SPACES
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


def calibration(study: Study, settings: AnalysisSettings) -> Section | None:
    """Precision of the reading against the words that the model was taught; None where they are not known."""
    folder = local_folder(study.settings.model)
    if folder is None or not (folder / "truth.json").exists():
        return None
    truth = read_json(folder / "truth.json")
    tokenizer = study.backbone.tokenizer
    vocabulary = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    rows = []
    for (task, variant), own in study.labels.groupby(["task", "variant"], sort=False):
        if task not in truth:
            continue
        known = tokenizer.convert_tokens_to_ids(truth[task]["words"])
        for space in SPACES:
            for what, prompts in (("tuned", [p.matrix for p in study.prompts]), ("start", study.starts)):
                matrix = study.in_space(torch.cat([prompts[index] for index in own.index]), space)
                nearest, _ = nearest_tokens(matrix, study.vocabulary(space), settings.neighbours)
                rows.append(
                    {
                        "task": task,
                        "variant": variant,
                        "space": space,
                        "prompt": what,
                        "k": settings.neighbours,
                    }
                    | precision_against_truth(nearest.numpy(), known, vocabulary)
                )
    if not rows:  # tasks of one's own, which it was not taught
        return None
    table = pd.DataFrame(rows)
    return Section(
        "How far to trust the readings",
        f"This model was taught known wordings of each task's instruction. Precision at {settings.neighbours}: the "
        "share of all nearest tokens that are words of those wordings. Chance is the same reading under a shuffled "
        "vocabulary, 5,000 times; p is the share of shuffles that do as well. The start is the prompt before tuning: "
        "what it reads by itself is no finding.",
        list(_trust(table)),
        _digest(table),
        {},
        {"calibration": table},
    )


def _trust(table: pd.DataFrame) -> Iterator[str]:
    raw = table[table["space"] == "raw"]
    for variant, own in raw.groupby("variant", sort=False):
        tuned, start = own[own["prompt"] == "tuned"], own[own["prompt"] == "start"]
        above, before = ((found["precision"] > found["chance_high"]).sum() for found in (tuned, start))
        yield (
            f"From {variant}, {spread(tuned['precision'])} of the nearest tokens are words that the model was taught for "
            f"the task, surely above chance ({spread(tuned['chance'])}) on {above} of {len(tuned)} tasks; before tuning "
            f"{spread(start['precision'])}, above chance on {before}."
        )


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (variant, task, space), own in table.groupby(["variant", "task", "space"], sort=False):
        if space != "raw":
            continue
        tuned, start = (own[own["prompt"] == what].iloc[0] for what in ("tuned", "start"))
        rows.append(
            {
                "task": task,
                "from": variant,
                "tuned": f"{tuned['precision']:.0%}",
                "before tuning": f"{start['precision']:.0%}",
                "chance (97.5% below)": f"{tuned['chance']:.0%} ({tuned['chance_high']:.0%})",
                "p": f"{tuned['p']:.4f}",
            }
        )
    return pd.DataFrame(rows)
