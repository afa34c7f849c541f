"""What the prompts of a method say: the texts of discrete prompts, and how many of their words the model was taught."""

from collections.abc import Iterator

import pandas as pd

from softprompt.analysis.method_words import word_shares
from softprompt.methods.hard import allowed_tokens
from softprompt.report.formatting import format_range
from softprompt.report.known_words import TAUGHT, known_words
from softprompt.study import Study


def prompt_texts(study: Study) -> pd.DataFrame:
    """The texts that discrete prompts are."""
    lines = [
        {
            **{name: label[name] for name in ("task", "variant", "run")},
            "text": result["text"]["text"],
            "exact_match": result["tuned"]["exact_match"],
            "same_tokens": result["text"]["same_tokens"],
            "exact_match_as_text": result["text"]["exact_match"],
        }
        for result, label in zip(study.results, study.labels.to_dict("records"), strict=True)
        if "text" in result
    ]
    columns = ["task", "variant", "run", "text", "exact_match", "same_tokens", "exact_match_as_text"]
    return pd.DataFrame(lines, columns=columns)


def word_table(study: Study) -> pd.DataFrame:
    """`word_shares` of all variants with rows, if the model's folder tells which words it was taught."""
    taught = {task: words for task, words in known_words(study)[TAUGHT].items() if task in study.targets}
    if study.holds_prefixes or not taught:
        return pd.DataFrame()
    answers = [answer for target in study.targets.values() for answer in target.task.verbalizers]
    allowed = {token for token in allowed_tokens(study.backbone, answers).tolist() if study.is_word(token)}
    words = [
        (label["variant"], label["task"], allowed & set(tokens))
        for label, tokens in zip(study.labels.to_dict("records"), study.nearest, strict=True)
    ]
    return word_shares(
        words, {task: allowed & set(of_task) for task, of_task in taught.items()}, len(allowed)
    )


def word_findings(words: pd.DataFrame) -> Iterator[str]:
    """All variants of `word_table` in one sentence."""
    if words.empty:
        return
    of_variants = "; ".join(
        f"{row['variant']}: {row['own']:.0%}, of another task {row['others']:.0%} (p={row['p']:.3f})"
        for row in words.to_dict("records")
    )
    tried = f", not corrected for {len(words)} tries" if len(words) > 1 else ""
    yield (
        "The share of a prompt's different words (of a soft prompt, of the tokens nearest to its rows) that the model was "
        f"taught for the task. {of_variants}. By chance it would be {format_range(words['chance'])}. "
        f"{words['runs'].sum()} prompts; p are by exchanging the tasks{tried}; the smallest possible is "
        f"{words['smallest_p'].min():.3f}."
    )


def text_findings(texts: pd.DataFrame) -> Iterator[str]:
    """How many of the texts of `prompt_texts` are read as other tokens, and what these score."""
    if len(texts):
        changed = texts[~texts["same_tokens"].astype(bool)]
        yield (
            f"Written as a text and read by the tokenizer again, {len(changed)} of {len(texts)} discrete prompts become other "
            "tokens"
            + (
                f"; they score {format_range(changed['exact_match_as_text'], '.1%')}."
                if len(changed)
                else "."
            )
        )
