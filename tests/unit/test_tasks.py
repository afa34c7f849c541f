from dataclasses import replace

import pytest

from softprompt.errors import UserError
from softprompt.tasks import Record, render

RECORD = {"premise": "a dog runs", "hypothesis": "a dog is big", "label": "neutral"}


def test_a_record_becomes_text_and_answer(settings):
    rendered = render(settings.task, Record(RECORD, "here:1"))
    assert rendered.text == "\nPremise: a dog runs\nHypothesis: a dog is big\nAnswer:"
    assert list(settings.task.verbalizers)[rendered.label] == "neutral"


def test_braces_in_a_record_stay_text(settings):
    record = Record({**RECORD, "premise": "{hypothesis} {0}"}, "here:1")
    assert "Premise: {hypothesis} {0}\n" in render(settings.task, record).text


def test_a_line_break_in_a_field_becomes_a_space(settings):
    record = Record({**RECORD, "premise": "a dog\n  runs"}, "here:1")
    assert "Premise: a dog runs\nHypothesis" in render(settings.task, record).text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"premise": "  "}, "here:1: field 'premise' is empty"),
        ({"premise": 7}, "here:1: field 'premise' should be text, but is 7"),
        ({"premise": None}, "here:1: field 'premise' should be text, but is None"),
        ({"premise": "half \ud800"}, "here:1: field 'premise' contains half of a surrogate pair"),
        ({"label": "maybe"}, "here:1: label 'maybe' is unknown to task 'cb'; its labels are 'entailment', "),
        ({"label": 0}, "here:1: label 0 is unknown"),
    ],
)
def test_an_invalid_field_is_named_with_its_record(settings, changes, message):
    with pytest.raises(UserError) as caught:
        render(settings.task, Record({**RECORD, **changes}, "here:1"))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["hypothesis", "label"])
def test_a_missing_field_is_named(settings, name):
    fields = {key: value for key, value in RECORD.items() if key != name}
    with pytest.raises(UserError, match=rf"^here:1: no .*'{name}'"):
        render(settings.task, Record(fields, "here:1"))


def test_a_record_without_label_can_be_rendered_for_prediction(settings):
    fields = {key: value for key, value in RECORD.items() if key != "label"}
    assert render(settings.task, Record(fields, "here:1"), labelled=False).label is None


def test_false_and_zero_are_different_labels(settings):
    task = replace(settings.task, verbalizers={"no": [False], "first": [0]})
    assert render(task, Record({**RECORD, "label": 0}, "here:1")).label == 1
    assert render(task, Record({**RECORD, "label": False}, "here:1")).label == 0
