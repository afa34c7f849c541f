"""Records become examples; a field that is too long is cut."""

from dataclasses import replace
from typing import Any

import pytest

from softprompt.data.examples import check_lengths
from softprompt.data.prepare import Prepared, prepare
from softprompt.errors import UserError
from softprompt.parsing import config_of, parse_settings
from softprompt.runs import run_id
from softprompt.settings import Settings, Truncate
from softprompt.tasks import Record

WORDS = "a dog runs not big small red blue cat sleeps"  # 10 tokens
CONTEXT = 24
ROWS = 4


def prepared(
    settings: Settings,
    tokenizer: Any,
    truncate: Truncate | None,
    premise: object = WORDS,
    context: int | None = CONTEXT,
) -> Prepared:
    """Four tokens of the template, ten of the premise, four of the hypothesis, two of the answer: 19 of an example."""
    own = {"premise": premise, "hypothesis": "the dog is big", "label": "neutral"}
    short = {"premise": "a dog", "hypothesis": "the dog is big", "label": "neutral"}
    records = [Record(short, "here:1"), Record(own, "here:2")]
    return prepare(settings.task, records, truncate, tokenizer, 64, context)


@pytest.mark.parametrize(
    ("drop", "premise"),
    [("end", "a dog runs not big small red"), ("start", "not big small red blue cat sleeps")],
)
def test_a_field_loses_as_many_tokens_as_needed_at_the_named_end(
    settings: Settings, tokenizer: Any, drop: str, premise: str
) -> None:
    whole = prepared(settings, tokenizer, None)
    # 4 rows, 19 tokens, of which the last is no input, in a context of 19: three too many.
    cut = prepared(settings, tokenizer, Truncate("premise", drop, ROWS), context=19)
    assert cut.rendered[1].text == f"\nPremise: {premise}\nHypothesis: the dog is big\nAnswer:"
    assert (cut.truncated, cut.rendered[0], cut.examples[0]) == (1, whole.rendered[0], whole.examples[0])
    assert tokenizer.decode(cut.examples[1].text_ids) == " ".join(cut.rendered[1].text.split())
    assert cut.examples[1].answers == whole.examples[1].answers and cut.examples[1].label == 2
    check_lengths(cut.examples, ROWS, 19)
    with pytest.raises(UserError, match=r"here:2: 5 prompt rows .* prompt_rows: 5"):
        check_lengths(cut.examples, ROWS + 1, 19)


def test_what_fits_is_not_cut(settings: Settings, tokenizer: Any) -> None:
    truncate = Truncate("premise", "end", ROWS)
    assert prepared(settings, tokenizer, truncate, context=22) == prepared(settings, tokenizer, None)
    assert prepared(settings, tokenizer, truncate, context=21).truncated == 1
    assert prepared(settings, tokenizer, truncate, context=None) == prepared(settings, tokenizer, None)


def test_a_number_is_cut_as_text(settings: Settings, tokenizer: Any) -> None:
    cut = prepared(settings, tokenizer, Truncate("hypothesis", "end", ROWS), premise=7, context=11)
    assert "Premise: 7\nHypothesis: the dog\n" in cut.rendered[1].text


def test_a_text_too_long_without_the_field_is_refused(settings: Settings, tokenizer: Any) -> None:
    with pytest.raises(
        UserError, match=r"^here:2: 4 prompt rows .* even without the field 'hypothesis'; lower data"
    ):
        prepared(settings, tokenizer, Truncate("hypothesis", "end", ROWS), context=18)


def test_texts_of_mostly_unknown_words_are_refused(settings: Settings, tokenizer: Any) -> None:
    fields = {
        "premise": "eine Katze schl\u00e4ft heute fast ganz fest",
        "hypothesis": "ein Hund",
        "label": "neutral",
    }
    with pytest.raises(UserError, match=r"does not know 75% of the words in texts like 'Premise: eine Katze"):
        prepare(settings.task, [Record(fields, "here:1")], None, tokenizer, 64, None)


def test_the_cut_is_part_of_a_runs_identity(settings: Settings) -> None:
    """And no cut gives the id that the run had before there were cuts."""
    ids = {
        run_id(replace(settings, data=replace(settings.data, truncate=truncate)), {})
        for truncate in (
            None,
            *(Truncate("premise", drop, rows) for drop in ("start", "end") for rows in (4, 5)),
        )
    }
    assert len(ids) == 5
    older = config_of(settings)
    del older["data"]["truncate"]
    assert run_id(parse_settings(older), {}) == run_id(settings, {})


def test_a_field_that_the_template_lacks_is_refused(config: dict[str, Any]) -> None:
    config["data"]["truncate"] = {"field": "passage", "drop": "end"}
    with pytest.raises(
        UserError,
        match=r"^data\.truncate\.field=passage: .* 'cb' has no such field; it has premise, hypothesis$",
    ):
        parse_settings(config)
    config["data"]["truncate"] = {"field": "premise", "drop": "left"}
    with pytest.raises(UserError, match=r"^data\.truncate\.drop='left': should be 'start' or 'end'"):
        parse_settings(config)
