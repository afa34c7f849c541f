"""Hard prompts: every row replaced by the embedding of its nearest token."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.hard_prompt import KINDS, hard_prompt_table
from softprompt.console import show_control_characters
from softprompt.report.formatting import format_interval, format_range
from softprompt.report.registry import Section, section
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


@section(place=50)
def hard_prompt(study: Study, settings: AnalysisSettings) -> Section:
    """Exact match of the hard prompts, beside no prompt, the initial prompts and the tuned prompts."""
    correct: dict[str, dict[int, Bool[np.ndarray, "E"]]] = {kind: {} for kind in KINDS}
    for task in study.targets:
        indices = list(study.labels.index[study.labels["task"] == task])
        matrices = {
            "no_prompt": [study.prompts[index].matrix[:0] for index in indices],
            "initial": [study.initial_matrices[index] for index in indices],
            "hard_prompt": [study.backbone.embed(study.nearest[index]) for index in indices],
            "tuned": [study.prompts[index].matrix for index in indices],
        }
        for kind, of_kind in matrices.items():
            answers = study.answers([[matrix] for matrix in of_kind], task)
            correct[kind] |= {
                index: of_run.exact_match[0] for index, of_run in zip(indices, answers, strict=True)
            }
    table = hard_prompt_table(study.labels, correct)
    decoded = [study.backbone.tokenizer.decode(tokens) for tokens in study.nearest]
    texts = study.labels.assign(text=[show_control_characters(text) for text in decoded])
    return Section(
        title="Hard prompts (nearest-token projection)",
        how=(
            "Every row is replaced by the embedding of its nearest token (raw). The prompt is then a text, and is scored on "
            "the whole validation set. The share of the tuned prompts' gain over no prompt that it keeps may be above 100% "
            "or below 0: a text can score better than the tuned prompt, or worse than no prompt."
        ),
        findings=list(_findings(table)),
        digest=_digest(table),
        tables={"hard_prompt": table, "hard_prompt_texts": texts},
        names_spaces=True,
    )


def _findings(table: pd.DataFrame) -> Iterator[str]:
    for variant, group in table.groupby("variant", sort=False):
        yield (
            f"Initialised from {variant}, hard prompts score {format_range(group['hard_prompt'], '.1%')}, tuned prompts "
            f"{format_range(group['tuned'], '.1%')}, initial prompts {format_range(group['initial'], '.1%')}, no prompt "
            f"{format_range(group['no_prompt'], '.1%')}."
        )


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for row in table.to_dict("records"):
        interval = format_interval(100 * row["low"], 100 * row["high"], ".0f")
        has_gain = row["share_of_gain"] == row["share_of_gain"]
        lines.append(
            {
                "task": row["task"],
                "initialised from": row["variant"],
                **{kind.replace("_", " "): f"{row[kind]:.1%}" for kind in KINDS},
                "share of the gain kept": f"{row['share_of_gain']:.0%} {interval}"
                if has_gain
                else "no gain shown",
            }
        )
    return pd.DataFrame(lines)
