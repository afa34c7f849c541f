from dataclasses import replace

import pytest
import yaml

from softprompt.errors import UserError
from softprompt.parsing import parse_task_settings
from softprompt.tasks import Record, render
from tests.conftest import ROOT

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
    ("value", "text"), [(3, "3"), (2.5, "2.5"), (-1e20, "-1e+20"), (True, "true"), (False, "false"), (0, "0")]
)
def test_numbers_and_truth_values_are_written_as_in_json(settings, value, text):
    record = Record({**RECORD, "premise": value}, "here:1")
    assert f"Premise: {text}\n" in render(settings.task, record).text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"premise": "  "}, "here:1: field 'premise' is empty"),
        (
            {"premise": ["a"]},
            "here:1: field 'premise' should be text, a number, true or false, but is \"['a']\"",
        ),
        (
            {"premise": float("nan")},
            "here:1: field 'premise' should be text, a number, true or false, but is 'nan'",
        ),
        ({"premise": None}, "here:1: field 'premise' is null"),
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


@pytest.mark.parametrize(
    ("task", "fields", "text"),
    [
        (
            "boolq",
            {"question": "is it big", "passage": "A dog is big.", "label": True, "idx": 0},
            "\nPassage: A dog is big.\nQuestion: is it big\nAnswer:",
        ),
        (
            "wic",
            {"word": "run", "sentence1": "A dog runs.", "sentence2": "Runs differ.", "label": False, "start1": 6,
             "end1": 10, "start2": 0, "end2": 4, "version": 1.1, "idx": 0},
            "\nWord: run\nSentence 1: A dog runs.\nSentence 2: Runs differ.\nAnswer:",
        ),
        (
            "multirc",
            {"paragraph": "A dog is big.", "question": "What is big?", "answer": "a dog", "label": 1,
             "idx": {"paragraph": 0, "question": 0, "answer": 0}},
            "\nParagraph: A dog is big.\nQuestion: What is big?\nAnswer: a dog\nTrue or False?",
        ),
    ],
)  # fmt: skip
def test_records_of_other_superglue_tasks(task, fields, text):
    """In the schemas of the official files, and with the hub's names of the labels."""
    settings = parse_task_settings(yaml.safe_load((ROOT / f"conf/task/{task}.yaml").read_text()))
    rendered = render(settings, Record(fields, "here:1"))
    assert rendered.text == text
    name = str(bool(fields["label"]))
    assert list(settings.verbalizers)[rendered.label] == name
    on_the_hub = Record({**fields, "label": name}, "here:1")
    assert render(settings, on_the_hub).label == rendered.label


def test_records_of_a_question_are_a_group():
    task = parse_task_settings(yaml.safe_load((ROOT / "conf/task/multirc.yaml").read_text()))
    fields = {"paragraph": "A dog.", "question": "What?", "answer": "a dog", "label": 1}
    places = [(0, 0, 0), (0, 0, 1), (0, 1, 2), (1, 0, 3)]
    groups = [
        render(
            task,
            Record({**fields, "idx": dict(zip(("paragraph", "question", "answer"), place, strict=True))}, ""),
        ).group
        for place in places
    ]
    assert groups[0] == groups[1] and len(set(groups)) == 3
    with pytest.raises(UserError, match=r"^here:1: no field 'idx\.paragraph', which task\.group_by names"):
        render(task, Record({**fields, "idx": 7}, "here:1"))
