"""Readings compared: how many of the words that each reading gives are words of the task, against two chance levels."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from softprompt.analysis.holm import holm
from softprompt.analysis.intervals import interval_over_runs
from softprompt.analysis.precision import against_chance, shuffles

FUNCTIONAL_WORDS = 10  # per task


def functional_words(
    scores: Mapping[str, Mapping[str, float]], without_prompt: float, count: int = FUNCTIONAL_WORDS
) -> set[str]:
    """The words that help the model most when they stand alone in front of the text.

    Args:
        scores: by word, its `rank_accuracy` on the task, between 0 and 1.
        without_prompt: the rank accuracy without any word.
        count: how many; words tied with the last of them are in, too.

    Returns:
        Words above `without_prompt` that have fewer than `count` better words.
    """
    accuracies = sorted((score["rank_accuracy"] for score in scores.values()), reverse=True)
    least = accuracies[min(count, len(accuracies)) - 1] if accuracies else 1.0
    return {
        word
        for word, score in scores.items()
        if score["rank_accuracy"] >= least and score["rank_accuracy"] > without_prompt
    }


def list_precision(words: Sequence[int], true: Collection[int]) -> float:
    """The share of a list's words that are true. 0 for an empty list: a reading that says nothing finds nothing."""
    return float(np.isin(words, list(true)).mean()) if len(words) else 0.0


def readings_table(
    lists: pd.DataFrame,
    true: Mapping[str, Mapping[str, Collection[int]]],
    vocabularies: Mapping[str, Collection[int]],
    answers: Mapping[str, Collection[int]],
) -> pd.DataFrame:
    """The precision of every reading, for each task and variant.

    Args:
        lists: one line per `reading`, `task`, `variant`, `run`, and `prompt` (`tuned` or `initial`), with `words`: a list
            of token ids, best first.
        true: by kind of truth and task, the token ids of the task's words.
        vocabularies: by name of a chance level, the token ids whose names are shuffled among each other.
        answers: by task, the token ids of its answers. A reading that says them reads the label, not the instruction.

    Returns:
        One line per kind of truth, task, variant and reading. `precision` is the mean over `runs` lists, of at most
        `WORDS` words each, with a 95% interval over them; `empty` counts lists without a word. Precision alone favours
        short lists, so `words` is the mean length of a list, `found` the mean number of true words in it, and `answers` the
        mean share of a task's answers. `initial` is the same
        reading of the prompts before tuning, `difference` the mean over runs of tuned minus initial, with its interval.
        For each vocabulary `chance`, `chance_high` and `p` as in `against_chance`, and `p_holm`, corrected over the
        readings of the line's task and variant.
    """
    lines = []
    for truth, of_tasks in true.items():
        for task, words in of_tasks.items():
            of_task = lists[lists["task"] == task]
            chances = {name: _Chance(words, vocabulary) for name, vocabulary in vocabularies.items()}
            for _, of_variant in of_task.groupby("variant", sort=False):
                lines += _corrected(
                    [
                        {"truth": truth, **_line(of_reading, words, answers.get(task, ()), chances)}
                        for _, of_reading in of_variant.groupby("reading", sort=False)
                    ],
                    vocabularies,
                )
    return pd.DataFrame(lines)


class _Chance:
    """The shuffles of one vocabulary for the words of one task."""

    def __init__(self, true: Collection[int], vocabulary: Collection[int]) -> None:
        self.tokens = np.array(sorted(vocabulary))
        self.is_true = np.isin(self.tokens, list(true))  # [V]
        self.shuffled = shuffles(self.is_true)  # [b, V]

    def of(self, lists: Sequence[Sequence[int]]) -> dict[str, float]:
        """Chance and p of the mean precision of some lists. Words outside of the vocabulary count as wrong."""
        weights = np.zeros(len(self.tokens))
        for words in lists:
            weights += np.isin(self.tokens, list(words)) / max(1, len(words)) / len(lists)
        # [b, V] @ [V] -> [b]
        return against_chance(float(self.is_true @ weights), self.shuffled @ weights)


def _line(
    lists: pd.DataFrame, true: Collection[int], answers: Collection[int], chances: Mapping[str, _Chance]
) -> dict[str, str | int | float]:
    """One reading of one task and variant."""
    shown = lists.assign(precision=[list_precision(words, true) for words in lists["words"]])
    by_run = shown.pivot(index="run", columns="prompt", values="precision")  # [R, 2]
    tuned = by_run["tuned"].tolist()
    difference = (by_run["tuned"] - by_run["initial"]).tolist()
    lists_of_tuned = list(lists[lists["prompt"] == "tuned"]["words"])
    low, high = interval_over_runs(tuned)
    difference_low, difference_high = interval_over_runs(difference, least=-1.0)
    line: dict[str, str | int | float] = {
        **{name: str(lists[name].iloc[0]) for name in ("task", "variant", "reading")},
        "runs": len(tuned),
        "empty": sum(not words for words in lists_of_tuned),
        "words": float(np.mean([len(words) for words in lists_of_tuned])),
        "found": float(np.mean([np.isin(words, list(true)).sum() for words in lists_of_tuned])),
        "answers": float(np.mean([list_precision(words, answers) for words in lists_of_tuned])),
        "precision": float(np.mean(tuned)),
        "low": low,
        "high": high,
        "initial": float(by_run["initial"].mean()),
        "difference": float(np.mean(difference)),
        "difference_low": difference_low,
        "difference_high": difference_high,
    }
    for name, chance in chances.items():
        line |= {f"{key}, {name}": value for key, value in chance.of(lists_of_tuned).items()}
    return line


def _corrected(
    lines: list[dict[str, str | int | float]], vocabularies: Iterable[str]
) -> list[dict[str, str | int | float]]:
    for name in vocabularies:
        for line, p in zip(lines, holm([float(line[f"p, {name}"]) for line in lines]), strict=True):
            line[f"p_holm, {name}"] = p
    return lines


def word_matrix(lists: pd.DataFrame, words: Mapping[str, Collection[int]]) -> pd.DataFrame:
    """Do a task's prompts read its own words more often than those of other tasks?

    Args:
        lists: lines as in `readings_table`, of one reading.
        words: by task, the token ids of its words. Tasks may share words.

    Returns:
        One line per variant, `source` (the prompts' task) and `target` (the words' task). `precision` is the share of the
        prompts' words that are words of `target`, mean over runs, in percent, with a 95% interval over runs; `initial`
        the same before tuning; `only_target` the share of those that are no words of `source`.
    """
    lines = []
    for (variant, source), group in lists.groupby(["variant", "task"], sort=False):
        by_prompt = {kind: list(of_kind["words"]) for kind, of_kind in group.groupby("prompt")}
        for target, true in words.items():
            shares = [100 * list_precision(of_run, true) for of_run in by_prompt["tuned"]]
            only = set(true) - set(words.get(str(source), ()))
            low, high = interval_over_runs(shares, most=100.0)
            lines.append(
                {
                    "variant": variant,
                    "source": source,
                    "target": target,
                    "runs": len(shares),
                    "precision": float(np.mean(shares)),
                    "low": low,
                    "high": high,
                    "initial": float(np.mean([100 * list_precision(w, true) for w in by_prompt["initial"]])),
                    "only_target": float(
                        np.mean([100 * list_precision(w, only) for w in by_prompt["tuned"]])
                    ),
                }
            )
    return pd.DataFrame(lines)
