"""Transfer: every prompt on every task, without further training."""

from collections.abc import Iterator

import pandas as pd

from softprompt.analysis.transfer import LEVEL
from softprompt.report.drawing import Drawing
from softprompt.report.formatting import figure_name, format_interval
from softprompt.report.heat_map import heat_map
from softprompt.report.registry import Section, section
from softprompt.report.transfer_claims import describe_pair, transfer_claims
from softprompt.report.transfer_grid import (
    BASELINE,
    EXACT_MATCH,
    LABEL_MAP,
    RANK_ACCURACY,
    SCORES,
    transfer_grid,
)
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

FIGURES = {EXACT_MATCH: "transfer", RANK_ACCURACY: "transfer_rank", LABEL_MAP: "transfer_label_map"}
# The one number in the reference study's text on its figure 8: source, target, points of exact match.
PUBLISHED = ("cb", "copa", 0.4)


@section(place=90, needs_list=True, needs_rows=False)
def transfer(study: Study, settings: AnalysisSettings) -> Section:
    """Change in three scores, by source and target task."""
    table = transfer_grid(study)
    drawings = {
        figure_name(FIGURES[score], str(variant)): _figure(group, score, str(variant))
        for score in SCORES
        for variant, group in table[table["score"] == score].groupby("variant", sort=False)
    }
    of_rank = {str(name): figure_name(FIGURES[RANK_ACCURACY], str(name)) for name in set(table["variant"])}
    return Section(
        title="Transfer",
        how=(
            "Every run's best prompt on every task's validation set, without further training: change over no prompt in "
            "exact match, and in rank accuracy (the right answer is the most likely of the task's answers), in percentage "
            "points, mean over runs. By exact match nothing can be lost where it is 0 without a prompt; rank accuracy can "
            "fall. Up to a label map: each prompt's answer is the most likely of the answers of both tasks; every answer is "
            "taken to mean the label that it goes with most often on one half of the examples (even or odd positions), and "
            "is scored on the other half. It is compared with a constant label, chosen in the same way, so a share "
            "of right answers that comes from answering a shared label everywhere is not a gain. The 95% interval is for "
            "new runs on new examples (with one run, new examples only); each example is paired with its own answer at the "
            "baseline. p inverts an interval with the same variance components but without limits, because one right "
            "answer more than 0 would already exclude 0 from an interval that ends there. It is corrected over all pairs "
            "of different tasks and all initialisations with the same score (Holm 1979). Runs of a task with exactly the "
            "same prompt count once. In transfer.csv, ceiling is the best possible exact match and rank accuracy, if the "
            "model's truth.json has it (else 1), and share_of_possible the gain as a share of what can be gained."
        ),
        findings=[*_findings(table), *_beyond_shared_labels(table), *_published(table)],
        claims=transfer_claims(table, of_rank),
        digest=_digest(table),
        drawings=drawings,
        tables={"transfer": table},
    )


def _figure(group: pd.DataFrame, score: str, variant: str) -> Drawing:
    # In short lines, because a map of one task is narrow.
    title = f"gain in {score}, points\nover {BASELINE[score]}\n(from {variant}; *: corrected p < {LEVEL})"
    drawing = heat_map(group, "gain", title, " points", "remains", diverging=True)
    different = group["source"] != group["target"]
    drawing.caption = (
        f"Prompts initialised from {variant} change the {score} of their own task by "
        f"{group.loc[~different, 'gain'].mean():+z.0f} points over {BASELINE[score]} on average"
    )
    if different.any():
        drawing.caption += (
            f", and that of other tasks by {group.loc[different, 'gain'].mean():+z.0f} points; after correction "
            f"{group['remains'].sum()} of {different.sum()} pairs of different tasks differ from 0"
        )
    drawing.caption += "."
    return drawing


def _findings(table: pd.DataFrame) -> Iterator[str]:
    pairs = table[table["source"] != table["target"]]
    for (score, variant), group in pairs.groupby(["score", "variant"], sort=False):
        best, worst = group.nlargest(1, "gain").iloc[0], group.nsmallest(1, "gain").iloc[0]
        named = _pair(best) if best["gain"] == worst["gain"] else f"best {_pair(best)}; worst {_pair(worst)}"
        gained, lost = ((group["remains"] & (sign * group["gain"] > 0)).sum() for sign in (1, -1))
        yield (
            f"Initialised from {variant}, {score} over {BASELINE[str(score)]}: {named}. Of {len(group)} pairs of different "
            f"tasks, the interval lies above 0 for {(group['low'] > 0).sum()} and below 0 for {(group['high'] < 0).sum()}; "
            f"after correction over the {(pairs['score'] == score).sum()} pairs of all initialisations, gains remain for "
            f"{gained} and losses for {lost}."
        )


def _beyond_shared_labels(table: pd.DataFrame) -> Iterator[str]:
    """How many of the gains in exact match are skill."""
    pairs = table[table["source"] != table["target"]]
    key = ["variant", "source", "target"]
    raised = {
        score: set(group.loc[group["remains"] & (group["gain"] > 0), key].itertuples(index=False, name=None))
        for score, group in pairs.groupby("score")
    }
    if gained := raised.get(EXACT_MATCH):
        yield (
            f"Of the {len(gained)} gains in exact match that remain, {len(gained & raised[LABEL_MAP])} come with answers "
            "that tell the target's labels apart (up to a label map, better than a constant label after correction)."
        )


def _published(table: pd.DataFrame) -> Iterator[str]:
    source, target, points = PUBLISHED
    here = table[(table["source"] == source) & (table["target"] == target) & (table["score"] == EXACT_MATCH)]
    if len(here):
        ours = "; ".join(describe_pair(row) for _, row in here.iterrows())
        yield (
            f"The reference study (text on figure 8): {source} → {target} {points:+} points of exact match. Here: {ours}."
        )


def _pair(row: "pd.Series[float]") -> str:
    interval = format_interval(row["low"], row["high"])
    return f"{row['source']} → {row['target']} {row['gain']:+z.0f} points {interval}"


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    """For each target and score, the gain of its own prompts, and the best and the worst of the other tasks' prompts."""
    lines = []
    for (variant, target, score), group in table.groupby(["variant", "target", "score"], sort=False):
        line = {
            "target": target,
            "initialised from": variant,
            "score": score,
            "baseline": f"{group['baseline'].iloc[0]:.0%}",
            "n": group["n"].iloc[0],
        }
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
