"""Tests with the official SuperGLUE files, in the folder SUPERGLUE=<folder> or ../shared/superglue."""

import os
from pathlib import Path

import pytest
import yaml

from softprompt.data.jsonl import parse_jsonl
from softprompt.data.sources import read_records
from softprompt.settings import JsonlData, TaskSettings
from softprompt.tasks import render
from tests.conftest import ROOT

SUPERGLUE = Path(os.environ.get("SUPERGLUE", ROOT.parent / "shared" / "superglue"))
pytestmark = pytest.mark.skipif(not SUPERGLUE.is_dir(), reason=f"there is no SuperGLUE in {SUPERGLUE}")

COUNTS = {"cb": (250, 56, 250), "rte": (2490, 277, 3000), "copa": (400, 100, 500), "wsc": (554, 104, 146)}
MAJORITY = {"cb": 0.500, "rte": 0.527, "copa": 0.550, "wsc": 0.635}


def task(name: str) -> TaskSettings:
    return TaskSettings(**yaml.safe_load((ROOT / "conf" / "task" / f"{name}.yaml").read_text()))


def data(predict: bool = False) -> JsonlData:
    return JsonlData(source="jsonl", root=str(SUPERGLUE), holdout=0.0, predict=predict)


@pytest.mark.parametrize("name", COUNTS)
def test_all_records_load_and_render(name: str) -> None:
    records = read_records(data(predict=True), task(name)).splits
    assert tuple(len(records[split]) for split in ("train", "validation", "test")) == COUNTS[name]
    for split in ("train", "validation"):
        for record in records[split]:
            rendered = render(task(name), record)
            assert rendered.label is not None and rendered.text.count("\n") == task(name).template.count("\n")
    assert all(render(task(name), record, labelled=False).label is None for record in records["test"])


@pytest.mark.parametrize("name", MAJORITY)
def test_majority_class_on_validation(name: str) -> None:
    records = read_records(data(), task(name)).splits["validation"]
    labels = [render(task(name), record).label for record in records]
    share = max(labels.count(label) for label in set(labels)) / len(labels)
    assert share == pytest.approx(MAJORITY[name], abs=5e-4)


def test_irregular_wsc_records_are_not_changed() -> None:
    path = SUPERGLUE / "WSC" / "train.jsonl"
    records = {record.fields["idx"]: record for record in parse_jsonl(path.read_bytes(), path)}
    for idx in (234, 380):
        span = str(records[idx].fields["span1_text"])
        assert "\n" in span and span not in str(records[idx].fields["text"])
        assert (
            "span1_text: willow-towered Canopy Huntertropic wrestles\n"
            in render(task("wsc"), records[idx]).text
        )
    words = str(records[433].fields["text"]).split(" ")
    assert words[int(str(records[433].fields["span1_index"]))] == "Emma's"
    assert records[433].fields["span1_text"] == "Emma"
    rendered = render(task("wsc"), records[433])
    assert "span1_text: Emma\n" in rendered.text and "span2_text: " in rendered.text


def test_a_copa_text_ends_with_its_question() -> None:
    record = read_records(data(), task("copa")).splits["train"][0]
    rendered = render(task("copa"), record)
    assert rendered.text.endswith("Question: cause\nAnswer:")
    assert list(task("copa").verbalizers)[rendered.label or 0] == "choice1"
