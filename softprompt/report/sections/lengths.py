"""How many rows a prompt needs, by what it started from (Lester et al. 2021)."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import pandas as pd

from softprompt.analysis.copies import prompt_key
from softprompt.analysis.lengths import length_differences, length_table, length_trend, start_differences
from softprompt.analysis.variants import without_setting
from softprompt.report.formatting import format_interval, format_range
from softprompt.report.lengths_figure import lengths_figure
from softprompt.report.registry import Section, section
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


@section(place=18)
def lengths(study: Study, settings: AnalysisSettings) -> Section | None:
    """Exact match by rows and start; None if no start has prompts of several lengths for one task."""
    runs = study.labels.assign(
        start=[without_setting(variant, "prompt.length") for variant in study.labels["variant"]],
        rows=[len(prompt.matrix) for prompt in study.prompts],
    )
    several = runs.groupby(["task", "start"])["rows"].transform("nunique") > 1
    if not several.any():
        return None
    runs = runs[several]
    untrained, correct = {}, {}
    for task in dict.fromkeys(runs["task"]):
        indices = runs.index[runs["task"] == task]
        before = study.answers([[study.initial_matrices[index]] for index in indices], task)
        after = study.answers([[study.prompts[index].matrix] for index in indices], task)
        for run, initial, tuned in zip(runs["run"][indices], before, after, strict=True):
            untrained[run], correct[run] = initial.exact_match.mean(), tuned.exact_match[0]
    runs = runs.assign(
        untrained=runs["run"].map(untrained), exact_match=[correct[run].mean() for run in runs["run"]]
    )
    keys = {
        run: prompt_key(study.prompts[index].matrix)
        for index, run in zip(runs.index, runs["run"], strict=True)
    }
    table = length_table(runs, correct, keys)
    by_length, by_start = length_differences(table), start_differences(table)
    baselines = _baselines(study)
    return Section(
        title="Lengths of prompts",
        how=(
            "Lester et al. (2021, section 3.2) vary the number of rows and the start. Exact match on the whole validation set; "
            "95% intervals for new runs on new examples, those of differences as if the runs were independent (each pair of "
            "lengths has other random rows). The trend is the rank correlation of rows and exact match over runs, mean over "
            "tasks, with p by shuffling the rows within tasks. Untrained: the same prompts before the first step."
        ),
        findings=[*_by_length(by_length, runs), *_by_start(by_start), _beside(table, baselines)],
        digest=_digest(table, baselines),
        drawings={"lengths": lengths_figure(table, baselines, _caption(table))},
        tables={"lengths": table, "lengths_differences": by_length, "lengths_starts": by_start},
    )


def _baselines(study: Study) -> pd.DataFrame:
    """By task, exact match in percent without a prompt and with the instruction."""
    of_task = {result["task"]: result["baselines"] for result in study.results}
    return pd.DataFrame(
        {
            name: {task: 100 * scores[name]["exact_match"] for task, scores in of_task.items()}
            for name in ("no_prompt", "instruction")
        }
    )


def _by_length(differences: pd.DataFrame, runs: pd.DataFrame) -> Iterator[str]:
    for start, group in differences.groupby("start", sort=False):
        whole = group.loc[(group["longer"] - group["shorter"]).groupby(group["task"]).idxmax()]
        parts = "; ".join(
            f"{row['task']} {row['difference']:+z.1f} {_interval(row)} points from {row['shorter']} to {row['longer']} rows"
            for row in whole.to_dict("records")
        )
        further = group.drop(whole.index)
        rises, falls = (further["low"] > 0).sum(), (further["high"] < 0).sum()
        trend = length_trend(runs[runs["start"] == start])
        beyond = (
            f" Of {len(further)} steps to the next length, the interval of the change lies above 0 for {rises} and below 0 for "
            f"{falls}."
            if len(further)
            else ""
        )
        yield (
            f"From {start}: {parts}.{beyond} Trend {trend['spearman']:+.2f} (p={trend['p']:.4f}, n={(runs['start'] == start).sum()} "
            "runs; 0 if length made no difference)."
        )


def _by_start(differences: pd.DataFrame) -> Iterator[str]:
    for (first, second), group in differences.groupby(["first", "second"], sort=False):
        higher, lower = group[group["low"] > 0], group[group["high"] < 0]
        named = [
            f"{row['task']} with {row['rows']} rows {row['difference']:+z.1f} {_interval(row)}"
            for row in [*higher.to_dict("records"), *lower.to_dict("records")]
        ]
        yield (
            f"{first} against {second} at the same length: {format_range(group['difference'], '+z.1f')} points; the interval lies "
            f"above 0 for {len(higher)} and below 0 for {len(lower)} of {len(group)} pairs of task and length (if there were no "
            f"difference, about {0.025 * len(group):.1f} each){': ' if named else ''}{'; '.join(named)}."
        )


def _beside(table: pd.DataFrame, baselines: pd.DataFrame) -> str:
    here = baselines.loc[list(dict.fromkeys(table["task"]))]
    above = sum(row["low"] > here.loc[row["task"]].max() for row in table.to_dict("records"))
    untrained = "; ".join(
        f"from {start} {format_range(group['untrained'] / 100)}"
        for start, group in table.groupby("start", sort=False)
    )
    best = table.nlargest(1, "untrained").iloc[0]
    return (
        f"No prompt scores {format_range(here['no_prompt'] / 100)}, the instruction {format_range(here['instruction'] / 100)}. For "
        f"{above} of {len(table)} combinations of task, start and length the whole interval of the tuned prompts lies above both. "
        f"Untrained prompts score, {untrained}; the highest is {best['task']} from {best['start']} with {best['rows']} rows, "
        f"{best['untrained']:.1f}% ({best['runs']} runs)."
    )


def _caption(table: pd.DataFrame) -> str:
    rows = sorted(set(table["rows"]))
    parts = [
        f"{start}, {format_range(group.loc[group['rows'] == rows[0], 'exact_match'] / 100)} with {rows[0]} and "
        f"{format_range(group.loc[group['rows'] == rows[-1], 'exact_match'] / 100)} with {rows[-1]}"
        for start, group in table.groupby("start", sort=False)
        if {rows[0], rows[-1]} <= set(group["rows"])
    ]
    shown = f" From {'; from '.join(parts)} rows." if parts else ""
    return f"Exact match by the number of rows (logarithmic), with 95% intervals.{shown}"


def _digest(table: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for (task, start), group in table.groupby(["task", "start"], sort=False):
        line: dict[str, object] = {"task": task, "start": start}
        for row in group.to_dict("records"):
            line[f"{row['rows']} rows"] = f"{row['exact_match']:.1f}% {_interval(row, '.0f')}"
        of_task = baselines.loc[str(task)]
        line |= {str(name).replace("_", " "): f"{share:.1f}%" for name, share in of_task.items()}
        line["untrained"] = format_range(group["untrained"] / 100)
        line["runs each"] = format_range(group["runs"], "d")
        lines.append(line)
    return pd.DataFrame(lines).fillna("–")


def _interval(row: Mapping[Hashable, Any], spec: str = "+z.1f") -> str:
    return format_interval(row["low"], row["high"], spec)
