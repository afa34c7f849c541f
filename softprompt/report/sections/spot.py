"""Prompt transfer: runs that started from the prompt of another task, beside those that started from the instruction."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from softprompt.analysis.mantel import mantel_table
from softprompt.analysis.prompt_mean import cosine_of_means
from softprompt.analysis.prompt_transfer import (
    OTHERS,
    grid,
    paired_sooner_test,
    prompt_transfer_table,
)
from softprompt.analysis.retrieval import retrieval
from softprompt.analysis.similarity import as_matrix, similarity_table
from softprompt.report.formatting import format_interval, format_range
from softprompt.report.learning_curves import learning_curves_figure
from softprompt.report.registry import Section, section
from softprompt.report.spot_means import HOW, MeanTables, digest_lines, mean_findings, mean_tables
from softprompt.report.spot_runs import (
    RunFromPrompt,
    compared_runs,
    curves_of,
    outcomes_of,
    pairs_of,
)
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

TITLE = "Prompts that start from another task's prompt"
SCORES = {"before": "zero-shot", "after": "tuned"}
TRIED = (1, 2)  # the most similar sources
WITHOUT_SINGLE = (
    "runs from a mean are compared with runs from one prompt (prompt=run), and this sweep has none"
)


@section(place=105)
def spot(study: Study, settings: AnalysisSettings) -> Section | None:
    """Exact match and steps by start, and whether similarity finds a good source; None without such runs."""
    if not any(run.settings.prompt.run or run.settings.prompt.runs for run in study.runs):
        return None
    from_prompts, from_means, reasons = compared_runs(study)
    if not from_prompts:
        return Section(TITLE, f"Left out: {'; '.join(reasons or [WITHOUT_SINGLE])}.")
    curves = curves_of(from_prompts, from_means)
    outcomes = outcomes_of(study, from_prompts, from_means, curves)
    pairs = pairs_of(from_prompts, outcomes)
    table = prompt_transfer_table(pairs)
    similarities = _similarities(from_prompts)
    means = mean_tables(study, from_means, from_prompts, similarities, outcomes) if from_means else None
    retrieved = _retrieval_table(table, similarities)
    reasons += means.left_out if means else []
    left_out = [f"Runs without a comparison: {'; '.join(reasons)}."] if reasons else []
    return Section(
        title=TITLE,
        how=(
            "SPoT (Vu et al. 2022): a prompt starts as the tuned prompt of another task (prompt=run). Beside it is the run of the "
            "same task and seed in the source's sweep, which started from the instruction. Zero-shot: exact match "
            "before the first step, on the whole validation set. Differences are in points, with 95% intervals for new seeds "
            "and examples; runs are paired by seed, answers by example. Steps: the first evaluated step with 95% of the best "
            "exact match that any run of the task reaches here, whatever it started from, so that further runs can change them; "
            "those of the source's own training are not counted. A task's own prompt is a control: it shows what further "
            "training alone does. Similarity is the cosine of two prompts' mean rows (raw), "
            "mean over pairs of runs of the source's sweep. Its p are by relabelling the tasks."
            + (f" {HOW}" if means else "")
        ),
        findings=[
            *_before(table),
            *_after(table),
            _steps(table, paired_sooner_test(pairs)),
            *_own(table),
            *(mean_findings(means) if means else []),
            *_retrieved(retrieved, table),
            *left_out,
        ],
        digest=_digest(table, means),
        drawings={"spot": learning_curves_figure(curves, _caption(table))},
        tables={
            "spot": table,
            "spot_retrieval": retrieved,
            "spot_similarity": similarities,
            **(means.tables if means else {}),
        },
        names_spaces=True,
    )


def _similarities(from_prompts: list[RunFromPrompt]) -> pd.DataFrame:
    """The similarity of every two tasks' prompts from the instruction."""
    runs = {str(run.path): run for one in from_prompts for run in (one.source, one.from_instruction)}
    tasks = [run.settings.task.name for run in runs.values()]
    matrices = [run.best_prompt().matrix for run in runs.values()]
    return similarity_table(tasks, matrices, "cosine of means", cosine_of_means)


def _retrieval_table(table: pd.DataFrame, similarities: pd.DataFrame) -> pd.DataFrame:
    """Per score and k, a line of `retrieval`, with the rank correlation of similarity and score; empty with few tasks."""
    targets = list(dict.fromkeys(table["target"]))
    similarity = as_matrix(similarities, "similarity").reindex(index=targets, columns=targets).to_numpy(float)
    lines = []
    for name, score in SCORES.items():
        values = grid(table, name)
        if values is None or len(targets) < 3:
            continue
        (correlation,) = mantel_table({"cosine of means": similarity}, {score: values}).to_dict("records")
        for k in TRIED:
            lines.append(
                {
                    "score": score,
                    **retrieval(similarity, values, k),
                    "spearman": correlation["spearman"],
                    "p_spearman": correlation["p"],
                }
            )
    return pd.DataFrame(lines)


def _between(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of pairs of different tasks."""
    return table[(table["source"] != OTHERS) & (table["source"] != table["target"])]


def _counted(pairs: pd.DataFrame, name: str) -> str:
    above, below = (pairs[f"low_{name}"] > 0).sum(), (pairs[f"high_{name}"] < 0).sum()
    return (
        f"Of {len(pairs)} pairs of different tasks, the interval of the difference lies above 0 for {above} and below 0 for "
        f"{below} (if there were none, about {0.025 * len(pairs):.1f} each)."
    )


def _differences(table: pd.DataFrame, name: str) -> str:
    return "; ".join(
        f"{row['target']} {row[f'difference_{name}']:+z.1f} {format_interval(row[f'low_{name}'], row[f'high_{name}'], '+z.1f')}"
        for row in table[table["source"] == OTHERS].to_dict("records")
    )


def _before(table: pd.DataFrame) -> Iterator[str]:
    pairs = _between(table)
    if len(pairs):
        yield (
            f"Before tuning, another task's prompt scores {format_range(pairs['before'] / 100)} on a target, and the instruction "
            f"{format_range(pairs['instruction_before'] / 100)}. Points over the instruction, mean over sources: "
            f"{_differences(table, 'before')}. {_counted(pairs, 'before')}"
        )


def _after(table: pd.DataFrame) -> Iterator[str]:
    pairs = _between(table)
    if len(pairs):
        yield (
            f"Tuned from another task's prompt, {format_range(pairs['after'] / 100, '.1%')}; from the instruction "
            f"{format_range(pairs['instruction_after'] / 100, '.1%')}. Points over the instruction's start, mean over sources: "
            f"{_differences(table, 'after')}. {_counted(pairs, 'after')}"
        )


def _steps(table: pd.DataFrame, test: dict[str, float]) -> str:
    medians = "; ".join(
        f"{row['target']} {_number(row['steps'])} and {_number(row['instruction_steps'])}"
        for row in table[table["source"] == OTHERS].to_dict("records")
    )
    return (
        f"Median steps to the level from another task's prompt, and from the instruction: {medians}. In pairs of one seed the "
        f"other task's prompt is sooner {test['sooner']:.0f} times and later {test['later']:.0f} times (p={test['p']:.3f} by "
        f"exchanging the starts within {test['units']:.0f} pairs of target and seed)."
    )


def _own(table: pd.DataFrame) -> Iterator[str]:
    own = table[table["source"] == table["target"]]
    if len(own):
        parts = "; ".join(
            f"{row['target']} {row['difference_after']:+z.1f} "
            f"{format_interval(row['low_after'], row['high_after'], '+z.1f')}"
            for row in own.to_dict("records")
        )
        yield f"Control: trained again from its own tuned prompt, a task changes by {parts} points."


def _retrieved(retrieved: pd.DataFrame, table: pd.DataFrame) -> Iterator[str]:
    if retrieved.empty:
        tasks = table["target"].nunique()
        yield f"Whether similarity finds the best source needs three tasks, each a source of every other; there are {tasks}."
        return
    for score, group in retrieved.groupby("score", sort=False):
        parts = [
            f"the best source is {_among(row['k'])} for "
            f"{row['hits']} of {row['targets']} targets (by chance {row['expected_hits']:.1f}), and the best of "
            f"{row['k']} scores {row['best_of_k']:.1f}% on average (random {row['random_best_of_k']:.1f}%, best possible "
            f"{row['best']:.1f}%; p={row['p']:.2f})"
            for row in group.to_dict("records")
        ]
        first = group.iloc[0]
        yield (
            f"Source by similarity, judged by the {score} score: {'; '.join(parts)}. Rank correlation of similarity and score "
            f"over pairs {first['spearman']:+.2f} (p={first['p_spearman']:.2f}). The sources of a target differ by "
            f"{format_range(_spread(table, str(score)), '.1f')} points."
        )
    first = retrieved.iloc[0]
    yield f"With {first['targets']} tasks no p of a relabelling can be below {first['smallest_p']:.2g}."


def _spread(table: pd.DataFrame, score: str) -> "pd.Series[float]":
    """By target, the best source's score less the worst one's: with a small spread the best source means little."""
    (column,) = (name for name, of_column in SCORES.items() if of_column == score)
    by_target = _between(table).groupby("target", sort=False)[column]
    return by_target.max() - by_target.min()


def _among(k: int) -> str:
    return "the most similar one" if k == 1 else f"among the {k} most similar"


def _number(steps: float) -> str:
    return f"{steps:g}" if np.isfinite(steps) else "not reached"


def _caption(table: pd.DataFrame) -> str:
    others = table[table["source"] == OTHERS]
    if others.empty:
        return "Exact match by step (logarithmic)."
    return (
        "Exact match by step (logarithmic), a line per source. Before the first step other tasks' prompts score "
        f"{format_range(others['before'] / 100)} on average and the instruction "
        f"{format_range(others['instruction_before'] / 100)}; at the best step {format_range(others['after'] / 100, '.1%')} and "
        f"{format_range(others['instruction_after'] / 100, '.1%')}."
    )


def _digest(table: pd.DataFrame, means: MeanTables | None) -> pd.DataFrame:
    if means:  # the line of a target's mean stands behind its others
        lines = pd.concat([table, digest_lines(means)], ignore_index=True)
        targets = list(lines["target"].unique())
        table = lines.sort_values("target", kind="stable", key=lambda column: column.map(targets.index))
    return pd.DataFrame(
        [
            {
                "target": row["target"],
                "start": "its own prompt" if row["source"] == row["target"] else row["source"],
                "zero-shot": f"{row['before']:.1f}%",
                "instruction": f"{row['instruction_before']:.1f}%",
                "tuned": f"{row['after']:.1f}%",
                "tuned from instruction": f"{row['instruction_after']:.1f}%",
                "difference": f"{row['difference_after']:+z.1f} "
                f"{format_interval(row['low_after'], row['high_after'], '+z.1f')}",
                "steps": _number(row["steps"]),
                "from instruction": _number(row["instruction_steps"]),
                "seeds": row["seeds"],
            }
            for row in table.to_dict("records")
        ]
    )
