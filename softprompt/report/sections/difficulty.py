"""How hard the tasks are without tuning, and whether this correlates with the spread of their prompts over runs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd

from softprompt.analysis.difficulty import (
    AS_PRINTED,
    CORRECTED,
    HERE,
    SPREADS,
    difficulty_correlation,
    difficulty_table,
    published_correlation,
    study_of,
)
from softprompt.analysis.rank_correlation import smallest_p
from softprompt.report.difficulty_figure import difficulty_figure
from softprompt.report.drawing import Drawing
from softprompt.report.formatting import significant
from softprompt.report.registry import Claim, Question, Section, Verdict, section
from softprompt.report.sections.norms import spread_of
from softprompt.settings import AnalysisSettings, PublishedNorms
from softprompt.study import Study

NAMES = {
    "norm_variance": "the variance of the norms",
    "mean_squared_distance": "the mean squared distance to the task's mean prompt",
}
SIGNIFICANT = 0.05


@section(place=80, needs_list=True)
def difficulty(study: Study, settings: AnalysisSettings) -> Section:
    """Zero-shot scores over several wordings of each task's instruction, beside the spread of its prompts over runs."""
    zero_shot: dict[str, dict[str, float]] = {}
    for task, target in study.targets.items():
        wordings = list(dict.fromkeys([target.task.instruction, *settings.wordings.get(task, [])]))
        answers = study.answers([[study.backbone.embed_text(wording)] for wording in wordings], task)
        zero_shot[task] = {
            wording: 100 * of_wording.exact_match.mean()
            for wording, of_wording in zip(wordings, answers, strict=True)
        }
    scores = [asdict(line) for line in settings.published]
    table = difficulty_table(zero_shot, scores)
    spread = spread_of(study)[["task", "variant", "space", "runs", *SPREADS]]
    correlation = difficulty_correlation(table, spread)
    published = published_correlation(scores, [asdict(line) for line in settings.published_norms])
    shown = {study_of(source) for source in table["source"]}
    published = published[published["study"].isin(shown)]
    first = str(study.labels["variant"].iloc[0])
    of_first = spread[(spread["variant"] == first) & (spread["space"] == "raw")].set_index("task")
    drawings = _drawings(table, of_first, correlation, first)
    wordings_table = pd.DataFrame(
        [
            {"task": task, "instruction": wording, "exact_match": score}
            for task, scores in zero_shot.items()
            for wording, score in scores.items()
        ]
    )
    return Section(
        title="Zero-shot difficulty and spread",
        how=(
            "Exact match (%) of the untuned model with each wording of a task's instruction as text (`wordings` in "
            "conf/analyze.yaml): median and maximum over wordings, and their difference (delta), the reference study's "
            "measure of difficulty. The spread of a task's prompts is the variance of their norms over runs (the reference "
            "study's, its table 1) or their mean squared distance to the task's mean prompt. p is by permutation of the tasks; "
            "the adjusted p is the share of permutations in which any of the correlations tried is as far from 0 (max-T). "
            f"The first table has the prompts initialised from {first}; difficulty_correlation.csv has all. Published "
            "figures are of bloomz-560m."
        ),
        findings=[*_findings(correlation), *_published(published)],
        claims=_claims(correlation, published, first, drawings),
        digest=_digest(table, of_first, settings.published_norms),
        drawings=drawings,
        tables={
            "difficulty": table,
            "difficulty_spread": spread,
            "difficulty_correlation": correlation,
            "published_correlation": published,
            "wordings": wordings_table,
        },
        names_spaces=True,
    )


def _findings(correlation: pd.DataFrame) -> Iterator[str]:
    known = correlation[np.isfinite(correlation["spearman"])]
    tasks = int(correlation["tasks"].iloc[0])
    if known.empty:
        yield (
            "No correlation of difficulty and spread: there are too few tasks or runs, or the tasks' difficulty does not "
            f"differ. {_least_p(tasks)}"
        )
        return
    for variant, group in known.groupby("variant", sort=False):
        parts = [
            f"{NAMES[row['spread']]} {_numbers(row)}"
            for row in group[(group["measure"] == "delta") & (group["space"] == "raw")].to_dict("records")
        ]
        if parts:
            yield (
                f"Initialised from {variant}, the rank correlations over {tasks} tasks of delta (harder tasks have a larger "
                f"one, says the reference study) with the spread of the prompts (raw) are: {'; '.join(parts)}."
            )
    row = known.loc[known["spearman"].abs().sort_values(kind="stable").index[-1]]
    yield (
        f"The strongest of {len(known)} correlations is that of the {row['measure']} with {NAMES[row['spread']]} "
        f"({row['space']}, from {row['variant']}): {_numbers(dict(row))}."
    )
    yield _least_p(tasks)


def _claims(
    correlation: pd.DataFrame, published: pd.DataFrame, variant: str, drawings: Mapping[str, Drawing]
) -> list[Claim]:
    """The reference study's claim, on its own measures: delta, and the variance of the norms (raw)."""
    (row,) = correlation[
        (correlation["variant"] == variant)
        & (correlation["measure"] == "delta")
        & (correlation["space"] == "raw")
        & (correlation["spread"] == "norm_variance")
    ].to_dict("records")
    known = np.isfinite(row["spearman"])
    verdict = Verdict.OPEN
    if known and row["adjusted_p"] <= SIGNIFICANT:
        verdict = Verdict.HOLDS if row["spearman"] > 0 else Verdict.FAILS
    numbers = (
        f"Rank correlation of delta and the variance of the norms over {row['tasks']} tasks, from {variant}: "
        f"{_numbers({str(name): value for name, value in row.items()})}."
        if known
        else f"No rank correlation is defined over {row['tasks']} tasks: delta or the variance does not differ."
    )
    study = " ".join(
        f"In the study's own tables it is {part['spearman']:+.2f} (p={part['p']:.2f})."
        for part in published[published["delta"] == CORRECTED].to_dict("records")
    )
    return [
        Claim(
            Question.STABILITY,
            "Harder tasks have prompts of larger variance.",
            verdict,
            f"{numbers} {_least_p(int(row['tasks']))} {study}".strip(),
            "difficulty" if "difficulty" in drawings else None,
        )
    ]


def _least_p(tasks: int) -> str:
    if tasks < 3:
        return "A rank correlation needs three tasks or more."
    statement = "With m tasks no p can be below 2/m!, with four tasks not below 2/24"
    if smallest_p(tasks) > 0.05:
        return f"{statement}: the {tasks} tasks here cannot show a correlation at the 5% level."
    return f"{statement}; with the {tasks} tasks here not below {smallest_p(tasks):.2g}."


def _numbers(row: dict[str, float]) -> str:
    return f"{row['spearman']:+.2f} (p={row['p']:.2f}, adjusted {row['adjusted_p']:.2f})"


def _published(table: pd.DataFrame) -> Iterator[str]:
    """What a study's own tables say about variance and difficulty."""
    names = {CORRECTED: "as maximum minus median", AS_PRINTED: "as printed"}
    for study, group in table.groupby("study", sort=False):
        parts = [
            f"{row['spearman']:+.2f} (p={row['p']:.2f}) with delta {names[row['delta']]}"
            for row in group.to_dict("records")
        ]
        verdict = (
            "" if group["p"].min() <= 0.05 else " They do not show that harder tasks have a larger variance."
        )
        yield (
            f"In the published tables of the {study}, the rank correlation of the variance of the norms with delta over "
            f"{group['tasks'].iloc[0]} tasks is {' and '.join(parts)}.{verdict}"
        )


def _drawings(
    table: pd.DataFrame, spread: pd.DataFrame, correlation: pd.DataFrame, variant: str
) -> dict[str, Drawing]:
    """Delta beside both measures of spread, if their rank correlations are defined."""
    of_delta = correlation[
        (correlation["measure"] == "delta")
        & (correlation["space"] == "raw")
        & (correlation["variant"] == variant)
    ].set_index("spread")["spearman"]
    if of_delta.isna().any():
        return {}
    ours = table[table["source"] == HERE].set_index("task").join(spread[list(SPREADS)])
    caption = (
        f"Delta beside the spread of the prompts initialised from {variant} (raw): the rank correlation is "
        f"{of_delta['norm_variance']:+.2f} with the variance of the norms (left) and "
        f"{of_delta['mean_squared_distance']:+.2f} with the mean squared distance (right)."
    )
    return {"difficulty": difficulty_figure(ours, caption)}


def _digest(table: pd.DataFrame, spread: pd.DataFrame, published_norms: list[PublishedNorms]) -> pd.DataFrame:
    """A line per task and source; the spread here, and the variance that the same study published."""
    published = {(line.task, study_of(line.source)): line.variance for line in published_norms}
    lines = []
    for row in table.to_dict("records"):
        here = row["source"] == HERE and row["task"] in spread.index
        variance = (
            spread["norm_variance"][row["task"]]
            if here
            else published.get((row["task"], study_of(row["source"])), np.nan)
        )
        distance = spread["mean_squared_distance"][row["task"]] if here else np.nan
        printed = row.get("printed_delta", np.nan)
        lines.append(
            {
                "task": row["task"],
                "source": row["source"],
                "median": f"{row['median']:.1f}",
                "maximum": f"{row['maximum']:.1f}",
                "delta": f"{row['delta']:.1f}"
                + (f" (printed: {printed:g})" if printed == printed and printed is not None else ""),
                "variance of norms (raw)": significant(variance),
                "squared distance to mean prompt (raw)": significant(distance),
            }
        )
    return pd.DataFrame(lines)
