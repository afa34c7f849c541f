"""Interpolation: loss and exact match along the straight line between two prompts."""

from collections.abc import Iterator

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.analysis.interpolation import (
    PAIRS,
    POINTS,
    barrier_table,
    line_between,
    measures,
    midway_at_random,
    pairs_of_runs,
)
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.formatting import figure_name
from softprompt.report.registry import Section, section
from softprompt.report.style import colour_of
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

LOW = 0.1  # nats per answer


@section(place=72, needs_list=True)
def interpolation(study: Study, settings: AnalysisSettings) -> Section | None:
    """Barriers between prompts of one task, and of two tasks; None if there are no two prompts of one variant."""
    lines, pairs = (pd.DataFrame(rows) for rows in _lines_and_pairs(study, settings))
    if pairs.empty:
        return None
    table = barrier_table(pairs)
    return Section(
        title="Interpolation",
        how=(
            f"{POINTS} prompts at equal distances on the straight line between two tuned prompts of one variant: at most "
            f"{PAIRS} pairs of runs per task, and one pair of each two tasks, scored on both. If the numbers of rows differ, "
            f"the shorter prompt is stretched (alignment “resample”), and its end of the line is the stretched prompt. Scored "
            f"on {lines['n'].max()} validation examples at most. The barrier is the largest loss on the line minus the larger "
            "of the losses at its ends (after Frankle et al. 2020), in nats per answer. For comparison: the rise in loss when "
            "one goes from the task's own ends as far as the middle of the line, in a random direction."
        ),
        findings=list(_findings(pairs)),
        digest=_digest(table),
        drawings={
            figure_name("interpolation", str(variant)): _figure(
                group, f"from {variant}: loss on the line between two runs"
            )
            for variant, group in lines[lines["first_task"] == lines["second_task"]].groupby(
                "variant", sort=False
            )
        },
        tables={"interpolation_barriers": table, "interpolation_pairs": pairs, "interpolation": lines},
    )


def _lines_and_pairs(
    study: Study, settings: AnalysisSettings
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """One line per point; one line per pair and task that it is scored on."""
    points: list[dict[str, object]] = []
    pairs: list[dict[str, object]] = []
    indices = pairs_of_runs(study.labels)
    matrices = [(study.prompts[i].matrix, study.prompts[j].matrix) for i, j in indices]
    for target in study.targets:
        scored = [k for k, (i, j) in enumerate(indices) if target in set(study.labels["task"][[i, j]])]
        groups = [[*line_between(*matrices[k]), *midway_at_random(*matrices[k])] for k in scored]
        answers_of_pairs = study.answers(groups, target, settings.ablation_examples)
        for k, answers in zip(scored, answers_of_pairs, strict=True):
            first, second = (study.labels.loc[i] for i in indices[k])
            loss, exact_match = answers.loss.mean(1), answers.exact_match.mean(1)  # [P, E] -> [P]
            own_ends = [end for end, run in enumerate((first, second)) if run["task"] == target]
            label = {
                "variant": first["variant"],
                "first_task": first["task"],
                "second_task": second["task"],
                "scored_on": target,
                "first": first["run"],
                "second": second["run"],
            }
            points += [
                {
                    **label,
                    "share_of_second": point / (POINTS - 1),
                    "loss": loss[point],
                    "exact_match": exact_match[point],
                    "n": answers.loss.shape[1],
                }
                for point in range(POINTS)
            ]
            pairs.append(
                {
                    **label,
                    "rows": max(map(len, matrices[k])),
                    "stretched": len(matrices[k][0]) != len(matrices[k][1]),
                    **measures(own_ends, loss, exact_match),
                }
            )
    return points, pairs


def _findings(pairs: pd.DataFrame) -> Iterator[str]:
    for variant, group in pairs.groupby("variant", sort=False):
        within = group[group["first_task"] == group["second_task"]]
        between = group[group["first_task"] != group["second_task"]]
        if len(within):
            higher, random = ((within[name] > LOW).sum() for name in ("barrier", "rise_at_random"))
            yield (
                f"Initialised from {variant}, between two runs of a task: barrier {_spread(within['barrier'])} nats, above "
                f"{LOW} on {higher} of {len(within)} lines. As far away in a random direction the loss rises by "
                f"{_spread(within['rise_at_random'])}, by more than {LOW} on {random}"
                + (
                    ": the loss is flat at this distance, so lines without a barrier do not show one common optimum."
                    if max(higher, random) < len(within) / 2
                    else "."
                )
            )
        if len(between):
            yield (
                f"Initialised from {variant}, between prompts of two tasks ({len(between)} lines, each scored on one of its "
                f"tasks): exact match {between['exact_match_at_ends'].mean():.0%} at the task's own end, "
                f"{between['exact_match_in_middle'].mean():.0%} in the middle, and "
                f"{between['exact_match_at_random'].mean():.0%} as far away from the own end in a random direction; loss "
                f"{_spread(between['rise_in_middle'])} nats higher in the middle, {_spread(between['rise_at_random'])} in a "
                "random direction."
            )


def _spread(values: "pd.Series[float]") -> str:
    """The median, smallest and largest value. Pairs share runs, so an interval would be too narrow."""
    return f"{values.median():.2f} (range {values.min():.2f} to {values.max():.2f})"


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for row in table.to_dict("records"):
        within = row["first_task"] == row["second_task"]
        lines.append(
            {
                "between": row["first_task"] if within else f"{row['first_task']} and {row['second_task']}",
                "scored on": row["scored_on"],
                "initialised from": row["variant"],
                "pairs": row["pairs"],
                "barrier (largest)": f"{row['barrier']:.2f} ({row['largest_barrier']:.2f})"
                if within
                else "–",
                "rise in the middle": f"{row['rise_in_middle']:+z.2f}",
                "rise in a random direction": f"{row['rise_at_random']:+z.2f}",
                "exact match at own ends, middle, random": ", ".join(
                    f"{row[f'exact_match_{place}']:.0%}" for place in ("at_ends", "in_middle", "at_random")
                ),
            }
        )
    return pd.DataFrame(lines)


@rc_context(STYLE)
def _figure(lines: pd.DataFrame, title: str) -> Drawing:
    """A panel per task, a line per pair of runs."""
    tasks = list(dict.fromkeys(lines["first_task"]))
    colours = colour_of(tasks)
    figure = Figure(figsize=(2.4 * len(tasks) + 0.6, 2.4), layout="constrained")
    drawing = Drawing(figure)
    for axis, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        for (first, second), pair in lines[lines["first_task"] == task].groupby(
            ["first", "second"], sort=False
        ):
            (line,) = axis.plot(pair["share_of_second"], pair["loss"], ".-", color=colours[task], lw=1, ms=4)
            drawing.tip(line, f"{task}: {first} to {second}, largest loss {pair['loss'].max():.3f}")
        axis.set(title=task, xlabel="share of the second prompt")
        axis.set_ylim(bottom=0)
    figure.axes[0].set_ylabel("nats per answer")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=10)
    return drawing
