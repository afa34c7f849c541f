"""Whether the nearest prompt is of the same task: tuned prompts, their starts, what tuning added, random prompts."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.bootstrap import percentile_interval
from softprompt.analysis.copies import without_copies
from softprompt.analysis.geometry import distance_matrix
from softprompt.analysis.nearest_prompt import nearest_prompts, same_label, same_label_by_chance, same_label_p
from softprompt.analysis.random_prompts import random_prompts
from softprompt.report.registry import Claim, Question, Verdict
from softprompt.study import Study

DRAWS = 99  # sets of random prompts
SIGNIFICANT = 0.05
TUNED, STARTS, DISPLACEMENT, RANDOM = "tuned", "start", "direction of displacement", "random"


def nearest_prompt_table(study: Study, alignment: str) -> pd.DataFrame:
    """For how many prompts of each variant the nearest other one (raw) has the same task, and the same seed.

    Args:
        study: the runs.
        alignment: a key of `ALIGNMENTS`.

    Returns:
        Lines per variant with two tasks or more and a task with two runs; runs that kept their initial prompt are left
        out. The tuned prompts, their starts, the displacements scaled to one norm per row, and random prompts of equal
        length and scale (the mean over `DRAWS` sets, and their 95% range `low` to `high`). `starts_differ` is false if two
        runs of a task start alike.
    """
    columns = [
        "variant",
        "prompts",
        "runs",
        "same_task",
        "by_chance",
        "p",
        "low",
        "high",
        "same_seed",
        "starts_differ",
    ]
    lines = []
    trained = [
        not torch.equal(prompt.matrix, start)
        for prompt, start in zip(study.prompts, study.initial_matrices, strict=True)
    ]
    for variant, group in study.labels[trained].groupby("variant", sort=False):
        tasks, seeds = list(group["task"]), list(group["seed"])
        if not 1 < len(set(tasks)) < len(tasks):
            continue
        tuned = [study.prompts[index].matrix for index in group.index]
        starts = [study.initial_matrices[index] for index in group.index]
        # With one length for all: tasks differ in how far their prompts move, and the shortest displacements would be
        # the nearest to all others.
        moved = [_of_unit_rows(prompt - start) for prompt, start in zip(tuned, starts, strict=True)]
        chance = same_label_by_chance(tasks)
        differ = len(without_copies(group, starts)) == len(group)
        about = {"variant": variant, "runs": len(tasks), "by_chance": chance, "starts_differ": differ}
        for name, compared in ((TUNED, tuned), (STARTS, starts), (DISPLACEMENT, moved)):
            nearest = nearest_prompts(distance_matrix(compared, alignment))
            lines.append(
                about
                | {
                    "prompts": name,
                    "same_task": same_label(nearest, tasks),
                    "p": same_label_p(nearest, tasks),
                    "same_seed": same_label(nearest, seeds),
                }
            )
        counts = _random_counts(study, starts, tasks, alignment)
        low, high = percentile_interval(counts)
        lines.append(about | {"prompts": RANDOM, "same_task": counts.mean(), "low": low, "high": high})
    return pd.DataFrame(lines, columns=columns)


def _of_unit_rows(matrix: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The matrix scaled so that the root mean square of its rows' norms is 1."""
    scaled: Float[Tensor, "n d"] = matrix * (len(matrix) ** 0.5 / torch.linalg.matrix_norm(matrix))
    return scaled


def _random_counts(
    study: Study, like: Sequence[Float[Tensor, "_ d"]], tasks: Sequence[str], alignment: str
) -> Float[np.ndarray, "draws"]:
    """`same_label` of sets of random prompts with the rows of the given ones."""
    scale = study.backbone.embedding_scale
    drawn = random_prompts([len(prompt) for prompt in like], study.backbone.width, scale, DRAWS)
    return np.array(
        [same_label(nearest_prompts(distance_matrix(prompts, alignment)), tasks) for prompts in drawn],
        dtype=float,
    )


def nearest_findings(table: pd.DataFrame) -> Iterator[str]:
    """One statement per variant: a finding only where untrained prompts do not show the same.

    Args:
        table: what `nearest_prompt_table` returns.
    """
    for variant, group in table.groupby("variant", sort=False):
        by_name = {str(row["prompts"]): row for row in group.to_dict("records")}
        tuned, starts, moved, random = (by_name[name] for name in (TUNED, STARTS, DISPLACEMENT, RANDOM))
        yield " ".join(
            [
                f"Initialised from {variant}, the nearest other prompt has the same task for {_count(tuned)} prompts "
                f"(with relabelled tasks {tuned['by_chance']:.1f} on average, p={tuned['p']:.4f}), and the same seed for "
                f"{tuned['same_seed']:.0f}.",
                f"Of the untrained starts it has for {_count(starts)} (p={starts['p']:.4f}), and the same seed for "
                f"{starts['same_seed']:.0f}."
                if tuned["starts_differ"]
                else "That alone says nothing about tuning, because runs of a task start alike.",
                f"Of the directions of the displacements (tuned minus start) it has for {_count(moved)} (p={moved['p']:.4f}); of random "
                f"prompts of equal length and scale, drawn afresh, for {random['same_task']:.1f} (within "
                f"{random['low']:.0f} to {random['high']:.0f}).",
                *([_verdict(TUNED, tuned, starts, random)] if tuned["starts_differ"] else []),
                _verdict(DISPLACEMENT, moved, starts, random),
            ]
        )


def nearest_claims(table: pd.DataFrame, drawing: str) -> Iterator[Claim]:
    """Whether prompts of one task lie together, for the first variant.

    If the runs of a task start alike, the directions of their displacements decide; else the prompts themselves.

    Args:
        table: what `nearest_prompt_table` returns.
        drawing: the figure beside the claim.
    """
    if table.empty:
        return
    group = table[table["variant"] == table["variant"].iloc[0]]
    by_name = {str(row["prompts"]): row for row in group.to_dict("records")}
    decisive = by_name[TUNED if by_name[TUNED]["starts_differ"] else DISPLACEMENT]
    beyond = _is_beyond(decisive, by_name[STARTS], by_name[RANDOM])
    yield Claim(
        Question.STABILITY,
        "Trainings of one task end near each other.",
        Verdict.HOLDS if beyond else Verdict.OPEN,
        next(nearest_findings(group)),
        drawing,
    )


def _count(row: Mapping[Hashable, Any]) -> str:
    return f"{row['same_task']:.0f} of {row['runs']}"


def _verdict(
    name: str, row: Mapping[Hashable, Any], starts: Mapping[Hashable, Any], random: Mapping[Hashable, Any]
) -> str:
    """Whether prompts of one task are nearer to each other than relabelling, starts and random prompts show."""
    subject = "The tuned prompts" if name == TUNED else "The directions of the displacements"
    if row["p"] >= SIGNIFICANT:
        return f"{subject} show no more than chance."
    if not _is_beyond(row, starts, random):
        return f"{subject} show no more than the null, which shows it too."
    return f"{subject} of one task are nearer to each other than chance and untrained prompts show."


def _is_beyond(
    row: Mapping[Hashable, Any], starts: Mapping[Hashable, Any], random: Mapping[Hashable, Any]
) -> bool:
    """True if more prompts have a nearest prompt of their task than by relabelling, in starts and in random prompts."""
    null = max(random["high"], starts["same_task"]) if row["starts_differ"] else random["high"]
    return bool(row["p"] < SIGNIFICANT and row["same_task"] > null)
