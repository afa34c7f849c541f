"""Hard prompts: every row replaced by the embedding of its nearest token."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.analysis.copies import prompt_key
from softprompt.analysis.hard_prompt import KINDS, TEXTS, hard_prompt_table, random_texts
from softprompt.console import show_control_characters
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.formatting import format_interval, format_range
from softprompt.report.hard_prompt_claim import hard_prompt_claims
from softprompt.report.registry import Section, section
from softprompt.report.style import COLOURS, FAINT, INK
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

EXACT_MATCH = "exact match"
SCORES = {EXACT_MATCH: "exact_match", "rank accuracy": "rank_correct"}  # and their names in Answers
MARKS = {  # marker and colour of each kind of prompt in the figure
    "no_prompt": ("|", FAINT),
    "initial": ("s", COLOURS[5]),
    "hard_prompt": ("o", COLOURS[1]),
    "tuned": ("D", INK),
}


@section(place=50, needs_list=True)
def hard_prompt(study: Study, settings: AnalysisSettings) -> Section:
    """The scores of the hard prompts, beside random texts, no prompt, the initial prompts and the tuned prompts."""
    correct: dict[str, dict[str, dict[int, Bool[np.ndarray, "E"]]]] = {
        score: {kind: {} for kind in KINDS} for score in SCORES
    }
    of_texts: dict[str, dict[int, Bool[np.ndarray, "P E"]]] = {score: {} for score in SCORES}
    ordinary = sorted(
        set(range(len(study.backbone.tokenizer))) - set(study.backbone.tokenizer.all_special_ids)
    )
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
            for index, of_run in zip(indices, answers, strict=True):
                for score, outcome in SCORES.items():
                    correct[score][kind][index] = getattr(of_run, outcome)[0]
        lengths = [len(study.prompts[index].matrix) for index in indices]
        by_length = {
            length: random_texts(ordinary, length, f"random texts {task}") for length in sorted(set(lengths))
        }
        drawn = [[study.backbone.embed(text) for text in texts] for texts in by_length.values()]
        answers_of_length = dict(zip(by_length, study.answers(drawn, task), strict=True))
        for index, length in zip(indices, lengths, strict=True):
            for score, outcome in SCORES.items():
                of_texts[score][index] = getattr(answers_of_length[length], outcome)
    keys = [prompt_key(prompt.matrix) for prompt in study.prompts]
    labels = study.labels.assign(
        reads_as_start=[
            nearest == list(prompt.initial_tokens)
            for nearest, prompt in zip(study.nearest, study.prompts, strict=True)
        ]
    )
    table = pd.concat(
        [
            hard_prompt_table(labels, correct[score], of_texts[score], keys).assign(score=score)
            for score in SCORES
        ],
        ignore_index=True,
    )
    exact = table[table["score"] == EXACT_MATCH]
    decoded = [study.backbone.tokenizer.decode(tokens) for tokens in study.nearest]
    texts = study.labels.assign(text=[show_control_characters(text) for text in decoded])
    return Section(
        title="Hard prompts (nearest-token projection)",
        how=(
            "Every row is replaced by the embedding of its nearest token (raw). The prompt is then a text, and is scored on "
            "the whole validation set. The share of the tuned prompts' gain over no prompt that it keeps may be above 100% "
            "or below 0: a text can score better than the tuned prompt, or worse than no prompt. What was learned is the gain "
            "over the initial prompt. 95% intervals are for new runs on new examples (with one run, new examples only). "
            f"Runs with exactly the same tuned prompt count once. Random texts: {TEXTS} per task, of distinct ordinary tokens "
            "and of the same length, the same for all runs of a task. Rank accuracy, whose chance level is that of guessing "
            "an answer, is in hard_prompt.csv, too."
        ),
        findings=list(_findings(exact)),
        claims=list(hard_prompt_claims(exact, table[table["score"] != EXACT_MATCH], "hard_prompt")),
        digest=_digest(table),
        drawings={"hard_prompt": _figure(exact)},
        tables={"hard_prompt": table, "hard_prompt_texts": texts},
        names_spaces=True,
    )


def _findings(table: pd.DataFrame) -> Iterator[str]:
    for variant, group in table.groupby("variant", sort=False):
        yield (
            f"Initialised from {variant}, hard prompts score {format_range(group['hard_prompt'], '.1%')}, tuned prompts "
            f"{format_range(group['tuned'], '.1%')}, initial prompts {format_range(group['initial'], '.1%')}, no prompt "
            f"{format_range(group['no_prompt'], '.1%')}, random texts {format_range(group['random_text'], '.1%')}."
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
                "score": row["score"],
                **{kind.replace("_", " "): f"{row[kind]:.1%}" for kind in KINDS},
                "random texts (97.5% quantile)": f"{row['random_text']:.1%} ({row['random_text_high']:.1%})",
                "read as their start": f"{row['read_as_start']} of {row['distinct_runs']}",
                "share of the gain kept": f"{row['share_of_gain']:.0%} {interval}"
                if has_gain
                else "no gain shown",
                "share of what was learned": f"{row['share_of_learned']:.0%} "
                f"{format_interval(100 * row['learned_low'], 100 * row['learned_high'], '.0f')}"
                if row["share_of_learned"] == row["share_of_learned"]
                else "nothing learned shown",
            }
        )
    return pd.DataFrame(lines)


@rc_context(STYLE)
def _figure(table: pd.DataFrame) -> Drawing:
    """A panel per start, a line per task: the score of each kind of prompt, and the range of the random texts."""
    variants, tasks = (list(dict.fromkeys(table[name])) for name in ("variant", "task"))
    figure = Figure(figsize=(3.1 * len(variants) + 1.6, 0.36 * len(tasks) + 1.2), layout="constrained")
    best = table.loc[table.groupby("variant", sort=False)["hard_prompt"].idxmin()].iloc[0]
    drawing = Drawing(
        figure,
        caption=(
            "Exact match of hard prompts beside that of tuned and initial prompts, mean over runs. The bar reaches from the "
            f"mean of {TEXTS} random texts of the same length to their 97.5% quantile. From {best['variant']} on "
            f"{best['task']} the hard prompts score {best['hard_prompt']:.0%}, the tuned prompts {best['tuned']:.0%}."
        ),
    )
    panels = figure.subplots(1, len(variants), sharex=True, sharey=True, squeeze=False)[0]
    for axis, variant in zip(panels, variants, strict=True):
        for row in table[table["variant"] == variant].to_dict("records"):
            y = tasks.index(row["task"])
            width = max(row["random_text_high"] - row["random_text"], 0.004)  # a line, if there is no range
            (bar,) = axis.barh(y, width, left=row["random_text"], height=0.5, color="#d5dade")
            drawing.tip(
                bar,
                f"{row['task']}, random texts: {row['random_text']:.1%}, to {row['random_text_high']:.1%}",
            )
            for (kind, (marker, colour)), dy in zip(MARKS.items(), (0.0, 0.12, -0.12, 0.0), strict=True):
                mark = axis.scatter(row[kind], y + dy, marker=marker, color=colour, s=30, zorder=3)
                drawing.tip(mark, f"{row['task']}, {kind.replace('_', ' ')}: {row[kind]:.1%}")
        axis.set(title=f"from {variant}", xlabel="exact match", xlim=(-0.03, 1.03))
        axis.set(yticks=range(len(tasks)), yticklabels=tasks, ylim=(len(tasks) - 0.5, -0.5))
    for kind, (marker, colour) in MARKS.items():
        panels[-1].scatter([], [], marker=marker, color=colour, s=30, label=kind.replace("_", " "))
    panels[-1].barh([0], [0], color="#d5dade", label="random texts")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return drawing
