"""Waywardness: runs that started from another task's instruction, beside those that started from their own."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import pandas as pd

from softprompt.analysis.waywardness import OWN, share_among, start_kinds, waywardness_table
from softprompt.report.formatting import format_interval
from softprompt.report.registry import Section, section
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


@section(place=55, needs_list=True)
def waywardness(study: Study, settings: AnalysisSettings) -> Section | None:
    """Exact match and nearest tokens by start; None if no run started from another task's instruction."""
    kinds = _starts(study)
    if all(kind in (None, OWN) for kind in kinds):
        return None
    runs = _runs(study, kinds)
    table = waywardness_table(runs)
    return Section(
        title="Waywardness",
        how=(
            "Khashabi et al. (2022) find prompts that solve a task and read as an unrelated text. Here: runs that started "
            "from the instruction of another task of the sweep (prompt.text), beside those that started from their own. "
            "Start's tokens: the share of the rows whose nearest token (raw) is a token of the text they started from; own "
            "instruction's tokens likewise. Exact match on the whole validation set. Means over runs; intervals: Student's t "
            "over runs."
        ),
        findings=list(_findings(table)),
        digest=_digest(table),
        tables={"waywardness": table, "waywardness_runs": runs},
        names_spaces=True,
    )


def _starts(study: Study) -> list[str | None]:
    """What the text is that each run started from: see `start_kinds`."""
    instructions = {task: target.task.instruction for task, target in study.targets.items()}
    return start_kinds(
        list(study.labels["task"]), [prompt.initial_text for prompt in study.prompts], instructions
    )


def _runs(study: Study, kinds: list[str | None]) -> pd.DataFrame:
    lines = []
    for task, target in study.targets.items():
        own = study.backbone.tokens_of(target.task.instruction)
        indices = [index for index, kind in enumerate(kinds) if kind and study.labels["task"][index] == task]
        tuned = study.answers([[study.prompts[index].matrix] for index in indices], task)
        initial = study.answers([[study.initial_matrices[index]] for index in indices], task)
        for index, after, before in zip(indices, tuned, initial, strict=True):
            start = study.prompts[index].initial_tokens
            lines.append(
                {
                    **{name: study.labels[name][index] for name in ("run", "task", "variant", "seed")},
                    "start": kinds[index],
                    "exact_match": after.exact_match.mean(),
                    "initial_exact_match": before.exact_match.mean(),
                    "start_share": share_among(study.nearest[index], start),
                    "own_share": share_among(study.nearest[index], own),
                    "own_share_before": share_among(start, own),
                }
            )
    return pd.DataFrame(lines)


def _findings(table: pd.DataFrame) -> Iterator[str]:
    ordinary = table[table["start"] == OWN].set_index("task")
    for row in table[table["start"] != OWN].to_dict("records"):
        beside = ""
        if row["task"] in ordinary.index:
            own = ordinary.loc[row["task"]]
            beside = f"; from its own instruction ({own['runs']} runs) {own['exact_match']:.1%} and {own['start_share']:.0%}"
        yield (
            f"{row['task']} from the instruction of {row['start']} ({row['runs']} runs): exact match "
            f"{row['exact_match']:.1%}{_interval(row, 'exact_match')} (before tuning {row['initial_exact_match']:.1%}), and "
            f"{row['start_share']:.0%}{_interval(row, 'start_share')} of the rows read as the start's tokens{beside}. Tokens "
            f"of its own instruction: {row['own_share']:.0%}, before tuning {row['own_share_before']:.0%}."
        )


def _interval(row: Mapping[Hashable, Any], name: str) -> str:
    """An interval in percent behind a number; nothing with one run."""
    low, high = 100 * row[f"{name}_low"], 100 * row[f"{name}_high"]
    return f" {format_interval(low, high, '.0f')}" if low == low else ""


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "task": row["task"],
                "start": row["start"] if row["start"] == OWN else f"instruction of {row['start']}",
                "runs": row["runs"],
                "exact match": f"{row['exact_match']:.1%}{_interval(row, 'exact_match')}",
                "before tuning": f"{row['initial_exact_match']:.1%}",
                "start's tokens": f"{row['start_share']:.0%}{_interval(row, 'start_share')}",
                "own instruction's tokens (before)": f"{row['own_share']:.0%} ({row['own_share_before']:.0%})",
            }
            for row in table.to_dict("records")
        ]
    )
