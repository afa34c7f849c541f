"""Transfer: every prompt on every task, without further training."""

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import binom

from softprompt.analysis.copies import prompt_key
from softprompt.analysis.transfer import transfer_table
from softprompt.report.drawing import Drawing
from softprompt.report.formatting import figure_name, format_interval
from softprompt.report.heat_map import heat_map
from softprompt.report.registry import Claim, Question, Section, Verdict, section
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

SCORES = {"exact_match": "exact match", "rank_correct": "rank accuracy"}

SIGNIFICANT = 0.05


@section(place=90)
def transfer(study: Study, settings: AnalysisSettings) -> Section:
    """Change in exact match over no prompt, by source and target task."""
    table = transfer_grid(study)
    exact_match = table[table["score"] == "exact match"]
    drawings = {}
    for variant, group in exact_match.groupby("variant", sort=False):
        title = f"gain in exact match over no prompt, points\n(from {variant}; *: interval excludes 0)"
        drawings[figure_name("transfer", str(variant))] = heat_map(
            group, "gain", title, " points", "interval_excludes_zero", diverging=True
        )
    return Section(
        title="Transfer",
        how=(
            "Every run's best prompt on every task's validation set, without further training: change in exact match over "
            "no prompt, in percentage points, mean over runs. The 95% interval is for new runs on new examples (with one run, "
            "new examples only); each example is paired with its own answer without a prompt. Runs of a task with exactly the "
            "same prompt count once. transfer.csv has the same for rank accuracy."
        ),
        findings=list(_findings(exact_match)),
        claims=list(_claims(table, drawings)),
        digest=_digest(exact_match),
        drawings=drawings,
        tables={"transfer": table},
    )


@cache  # the section on similarity uses it, too
def transfer_grid(study: Study) -> pd.DataFrame:
    """`transfer_table` in percentage points, for every score and variant."""
    grids = []
    for attribute, score in SCORES.items():
        for variant, group in study.labels.groupby("variant", sort=False):
            matrices = [study.prompts[index].matrix for index in group.index]
            no_prompt = matrices[0][:0]
            correct, correct_without_prompt = {}, {}
            for target in study.targets:
                without, *of_prompts = study.answers(
                    [[matrix] for matrix in (no_prompt, *matrices)], target
                )  # each [1, E]
                correct[target] = np.concatenate([getattr(answer, attribute) for answer in of_prompts])
                correct_without_prompt[target] = getattr(without, attribute)[0]
            keys = [prompt_key(matrix) for matrix in matrices]
            grid = transfer_table(list(group["task"]), keys, correct, correct_without_prompt)
            grids.append(grid.assign(variant=variant, score=score))
    table = pd.concat(grids, ignore_index=True)
    table[["gain", "low", "high"]] *= 100
    table["interval_excludes_zero"] = (table["low"] > 0) | (table["high"] < 0)
    return table


def _findings(table: pd.DataFrame) -> Iterator[str]:
    others = table[table["source"] != table["target"]]
    for variant, group in others.groupby("variant", sort=False):
        best, worst = group.nlargest(1, "gain").iloc[0], group.nsmallest(1, "gain").iloc[0]
        pairs = _pair(best) if best["gain"] == worst["gain"] else f"best {_pair(best)}; worst {_pair(worst)}"
        gain, loss = (group["low"] > 0).sum(), (group["high"] < 0).sum()
        yield (
            f"Initialised from {variant}: {pairs}. Of {len(group)} pairs of different tasks, the interval lies above 0 for "
            f"{gain} and below 0 for {loss}."
        )


def _claims(table: pd.DataFrame, drawings: Mapping[str, Drawing]) -> Iterator[Claim]:
    """Whether prompts raise the rank accuracy of other tasks, for the first variant.

    In rank accuracy, because exact match without a prompt is often 0, and then nothing can be lost.
    """
    variant = table["variant"].iloc[0]
    others = table[(table["variant"] == variant) & (table["source"] != table["target"])]
    ranked = others[others["score"] == "rank accuracy"]
    if ranked.empty:
        return
    above, below = int((ranked["low"] > 0).sum()), int((ranked["high"] < 0).sum())
    p_above, p_below = (float(binom.sf(count - 1, len(ranked), 0.025)) for count in (above, below))
    evidence = (
        f"In rank accuracy (from {variant}), the 95% interval lies above 0 for {above} of {len(ranked)} pairs and below 0 for "
        f"{below}; by chance {0.025 * len(ranked):.1f} each (p={p_above:.2g} and {p_below:.2g}, if pairs were independent)."
    )
    best, worst = ranked.nlargest(1, "gain").iloc[0], ranked.nsmallest(1, "gain").iloc[0]
    yield Claim(
        Question.TRANSFER,
        "A prompt can raise the score of a task that it was not tuned for.",
        Verdict.HOLDS if p_above <= SIGNIFICANT else Verdict.OPEN,
        f"{evidence} The largest gain is {_pair(best)}. Tasks that share labels can gain without a shared skill.",
        next(iter(drawings), None),
    )
    yield Claim(
        Question.TRANSFER,
        "A prompt can lower the score of another task.",
        Verdict.HOLDS if p_below <= SIGNIFICANT else Verdict.OPEN,
        f"The largest loss in rank accuracy is {_pair(worst)}; {below} of {len(ranked)} intervals lie below 0.",
    )


def _pair(row: "pd.Series[float]") -> str:
    interval = format_interval(row["low"], row["high"])
    return f"{row['source']} → {row['target']} {row['gain']:+z.0f} points {interval}"


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    """For each target, the gain of its own prompts, and the best and the worst of the other tasks' prompts."""
    lines = []
    for (variant, target), group in table.groupby(["variant", "target"], sort=False):
        line = {"target": target, "initialised from": variant, "n": group["n"].iloc[0]}
        is_own = group["source"] == target
        for name, selected in (
            ("own prompts (points)", group[is_own]),
            ("best of the others", group[~is_own].nlargest(1, "gain")),
            ("worst of the others", group[~is_own].nsmallest(1, "gain")),
        ):
            for row in selected.to_dict("records"):
                source = "" if row["source"] == target else f"{row['source']} "
                line[name] = f"{source}{row['gain']:+z.0f} {format_interval(row['low'], row['high'])}"
        lines.append(line)
    return pd.DataFrame(lines).fillna("–")
