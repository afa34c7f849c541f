"""Readings: several ways to read words from a prompt, scored against the words that are known to be the task's."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from softprompt.analysis.precision import SHUFFLES
from softprompt.analysis.ranking import WORDS
from softprompt.analysis.readings import FUNCTIONAL_WORDS, readings_table, word_matrix
from softprompt.report.drawing import Drawing
from softprompt.report.formatting import figure_name, format_interval
from softprompt.report.heat_map import heat_map
from softprompt.report.known_words import FUNCTIONAL, TAUGHT, known_words
from softprompt.report.read_prompts import NEAREST, read_prompts
from softprompt.report.readings_claim import ANY_WORD, INSTRUCTION_WORD, LEVEL, readings_claim
from softprompt.report.readings_figure import readings_figure
from softprompt.report.registry import Section, section
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


@section(place=35, needs_list=True)
def readings(study: Study, settings: AnalysisSettings) -> Section:
    """The words of every reading; where the task's words are known, their precision."""
    lists = read_prompts(study, settings)
    how = (
        f"Every reading gives the first {WORDS} words of a prompt: tokens with a letter or a digit, each once. Nearest: "
        "highest cosine with any row (raw). Displacement: highest cosine with tuned minus initial rows (Belanec et al. "
        "2024); mean displacement: averaged over the runs that share a start. Logit lens: the most likely next tokens at "
        "the prompt's own rows, averaged over the rows, after the last or the middle layer (nostalgebraist 2020). "
        "Elicitation: what the model writes when it is asked to repeat a text and the rows stand in the text's place "
        "(Ramati et al. 2024). Pruning: the nearest words of the rows, in the order in which greedy pruning keeps them."
    )
    shown = lists.assign(words=[_text(study, words) for words in lists["words"]])
    section = Section(
        title="Readings compared",
        how=how,
        findings=[
            "The task's words are not known for this model, so the readings are listed and not scored."
        ],
        digest=_word_digest(shown),
        tables={"readings_words": shown},
        names_spaces=True,
    )
    true = known_words(study)
    if not true[TAUGHT]:
        return section
    vocabulary = [token for token in range(len(study.backbone.tokenizer)) if study.is_word(token)]
    instruction_words = {token for words in true[TAUGHT].values() for token in words}
    table = readings_table(
        lists, true, {ANY_WORD: vocabulary, INSTRUCTION_WORD: instruction_words}, _answers(study)
    )
    if table.empty:
        return section
    matrix = word_matrix(lists[lists["reading"] == NEAREST], true[TAUGHT])
    section.how += (
        f" Precision: the share of these words that are words of the task's taught wordings, mean over runs. Chance: the "
        f"same after {SHUFFLES:,} shuffles of the names of all words, or only of the words of any task's instruction, "
        "because instruction words differ from other words. p is corrected over the readings (Holm 1979). “Before tuning” "
        "is the same reading of the initial prompt; for a displacement, which is 0 before tuning, of random directions. "
        "Intervals: Student's t over runs."
    )
    if any(true[FUNCTIONAL].values()):
        section.how += (
            f" Functional words: those {FUNCTIONAL_WORDS} words with the highest rank accuracy alone in front of the text, "
            "if above no prompt."
        )
    section.findings = [*_findings(table), *_answer_findings(table), *_matrix_findings(matrix)]
    section.digest = _digest(table)
    taught = table[table["truth"] == TAUGHT]
    section.claims = [readings_claim(taught, _random_starts(study), "readings")]
    section.drawings = {"readings": readings_figure(taught), **dict(_drawings(matrix))}
    section.tables = {"readings": table, "readings_by_words_of_task": matrix, "readings_words": shown}
    return section


def _text(study: Study, words: list[int]) -> str:
    return " ".join(study.text_of(word).strip() for word in words)


def _random_starts(study: Study) -> set[str]:
    """The variants whose prompts started from no tokens."""
    return {
        str(variant)
        for variant, prompt in zip(study.labels["variant"], study.prompts, strict=True)
        if not prompt.initial_tokens
    }


def _answers(study: Study) -> dict[str, set[int]]:
    """By task, the tokens of its answers."""
    return {
        task: {
            token
            for answer in target.task.verbalizers
            for text in (answer, f" {answer}")
            for token in study.backbone.tokens_of(text)
        }
        for task, target in study.targets.items()
    }


def _findings(table: pd.DataFrame) -> Iterator[str]:
    """For each kind of truth and variant: the reading that finds most words, and what it had before tuning."""
    for (truth, variant), group in table.groupby(["truth", "variant"], sort=False):
        means = group.groupby("reading", sort=False)[["found", "words", "precision", "initial"]].mean()
        best = str(means["found"].idxmax())
        lines = group[group["reading"] == best]
        above = int((lines[f"p_holm, {ANY_WORD}"] < LEVEL).sum())
        within = int((lines[f"p_holm, {INSTRUCTION_WORD}"] < LEVEL).sum())
        gained = int((lines["difference_low"] > 0).sum())
        yield (
            f"{str(truth).capitalize()}, initialised from {variant}: most are found by “{best}”: "
            f"{means['found'][best]:.1f} of {means['words'][best]:.1f} words of a prompt, precision "
            f"{means['precision'][best]:.0%} on average over {len(lines)} tasks, before tuning "
            f"{means['initial'][best]:.0%}; chance {lines[f'chance, {ANY_WORD}'].mean():.0%}, among instruction words "
            f"{lines[f'chance, {INSTRUCTION_WORD}'].mean():.0%}. Above chance on {above} of {len(lines)} tasks, among "
            f"instruction words on {within} (p < {LEVEL}, Holm); "
            + (
                f"more than before tuning on {gained} (interval over {lines['runs'].min()} runs or more)."
                if gained
                else "on no task is it shown to find more than before tuning, so what it finds may not be learned."
            )
        )


def _answer_findings(table: pd.DataFrame) -> Iterator[str]:
    """Readings that say the label: an answer may be a word of the instruction, too, and then counts as found."""
    of_reading = table[table["truth"] == TAUGHT].groupby("reading", sort=False)[["answers", "words"]].mean()
    for reading, row in of_reading[of_reading["answers"] > 1 / 2].iterrows():
        yield (
            f"“{reading}” gives {row['words']:.1f} words per prompt, and {row['answers']:.0%} of them are answers of the task: "
            "it reads a label more than an instruction. Where an answer is also a word of the instruction, it counts as found."
        )


def _matrix_findings(matrix: pd.DataFrame) -> Iterator[str]:
    for variant, group in matrix.groupby("variant", sort=False):
        own = group[group["source"] == group["target"]].set_index("source")
        others = group[(group["source"] != group["target"]) & group["source"].isin(own.index)]
        if others.empty:
            continue
        best = others.loc[others.groupby("source", sort=False)["precision"].idxmax()]
        foreign = best[best["precision"].to_numpy() >= own["precision"][best["source"]].to_numpy()]
        read = "; ".join(
            f"{row['source']} reads {row['precision']:.0f}% words of {row['target']} "
            f"{format_interval(row['low'], row['high'], '.0f')}, {own['precision'][row['source']]:.0f}% of its own"
            for row in foreign.to_dict("records")
        )
        yield (
            f"Nearest words, initialised from {variant}: the prompts of {len(foreign)} of {len(own)} tasks read the words of "
            f"another task at least as often as their own{f' ({read})' if read else ''}. Tasks share words."
        )


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    """One line per reading and variant, mean over tasks."""
    lines = []
    for (variant, reading), group in table.groupby(["variant", "reading"], sort=False):
        line: dict[str, object] = {
            "reading": reading,
            "initialised from": variant,
            "words": f"{group['words'].mean():.1f}",
            "answers among them": f"{group['answers'].mean():.0%}",
        }
        for truth, of_truth in group.groupby("truth", sort=False):
            within = of_truth[f"p_holm, {INSTRUCTION_WORD}"] < LEVEL
            line |= {
                f"{truth}": f"{of_truth['precision'].mean():.0%}",
                f"{truth}: before tuning": f"{of_truth['initial'].mean():.0%}",
                f"{truth}: chance (instruction words)": f"{of_truth[f'chance, {ANY_WORD}'].mean():.0%} "
                f"({of_truth[f'chance, {INSTRUCTION_WORD}'].mean():.0%})",
                f"{truth}: tasks above the latter": f"{within.sum()} of {len(of_truth)}",
            }
        lines.append(line)
    return pd.DataFrame(lines).fillna("–")


def _word_digest(shown: pd.DataFrame) -> pd.DataFrame:
    """The words of the first run of each task and variant."""
    tuned = shown[shown["prompt"] == "tuned"]
    first = tuned.groupby(["reading", "task", "variant"], sort=False).first().reset_index()
    return first[["reading", "task", "variant", "words"]].rename(columns={"variant": "initialised from"})


def _drawings(matrix: pd.DataFrame) -> Iterator[tuple[str, Drawing]]:
    for variant, group in matrix.groupby("variant", sort=False):
        title = f"nearest words of prompts that are words of a task, %\n(from {variant})"
        axes = ("prompts of task", "words of task")
        yield (
            figure_name("readings_by_words_of_task", str(variant)),
            replace(
                heat_map(group, "precision", title, "%", axes=axes),
                caption=(
                    f"From {variant}: the share of the nearest words of each task's prompts (down) that are taught words of "
                    "each task (across), in percent. Tasks share words."
                ),
            ),
        )
