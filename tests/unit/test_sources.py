from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import yaml

from softprompt.data.jsonl import parse_jsonl
from softprompt.data.sources import read_records
from softprompt.errors import UserError
from softprompt.files import sha256
from softprompt.parsing import parse_task_settings
from softprompt.settings import HubData
from softprompt.tasks import render
from tests.conftest import ROOT, cb_records


def test_fields_of_nested_objects_become_fields_of_the_record(data_folder):
    path = data_folder / "WSC" / "train.jsonl"
    record = parse_jsonl(path.read_bytes(), path)[2]
    assert record.fields["span1_text"] == "dog" and record.fields["label"] is True
    assert record.where == f"{path}:3"


def test_blank_lines_and_a_byte_order_mark_are_skipped():
    content = '\ufeff{"a": "x"}\n\n{"a": "y\\nz"}\n'.encode()
    records = parse_jsonl(content, Path("f.jsonl"))
    assert [(record.fields["a"], record.where) for record in records] == [
        ("x", "f.jsonl:1"),
        ("y\nz", "f.jsonl:3"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": }\n', "f.jsonl:2: not JSON (Expecting value at column 7)"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "f.jsonl:2: not UTF-8 (invalid start byte at byte 7)"),
        (b"[1, 2]\n", "f.jsonl:1: should be a JSON object, but is [1, 2]"),
        (b"", "f.jsonl: the file has no records"),
        (b"\n \n", "f.jsonl: the file has no records"),
    ],
)
def test_malformed_files_are_refused_with_line_and_reason(content, message):
    with pytest.raises(UserError) as caught:
        parse_jsonl(content, Path("f.jsonl"))
    assert str(caught.value) == message


def test_splits_and_fingerprint(settings, data_folder):
    records = read_records(settings.data, settings.task)
    counts = {split: len(split_records) for split, split_records in records.splits.items()}
    assert counts == {"train": 12, "validation": 8}
    assert records.fingerprint["CB/val.jsonl"] == sha256((data_folder / "CB/val.jsonl").read_bytes())


def test_test_records_are_read_for_predictions(settings):
    records = read_records(replace(settings.data, predict=True), settings.task)
    assert len(records.splits["test"]) == 5


def test_a_missing_folder_or_file_is_named(settings, tmp_path):
    with pytest.raises(UserError, match=r"data\.root=.*: there is no folder .*CB"):
        read_records(replace(settings.data, root=str(tmp_path)), settings.task)
    (tmp_path / "CB").mkdir()
    with pytest.raises(UserError, match=r"CB/train\.jsonl: cannot be read \(No such file"):
        read_records(replace(settings.data, root=str(tmp_path)), settings.task)


@pytest.fixture
def hub_folder(tmp_path):
    """A data set in the format of the hub: parquet files, with class labels as numbers."""
    names = ["entailment", "contradiction", "neutral"]
    text = datasets.Value("string")
    features = datasets.Features(premise=text, hypothesis=text, label=datasets.ClassLabel(names=names))
    for split, count in {"train": 6, "validation": 3, "test": 2}.items():
        rows = [{key: record[key] for key in features} for record in cb_records(count)]
        if split == "test":
            rows = [{**row, "label": -1} for row in rows]
        path = tmp_path / "hub" / "cb" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_list(rows, features=features).to_parquet(path)
    files = "".join(
        f"  - split: {split}\n    path: cb/{split}-*\n" for split in ("train", "validation", "test")
    )
    readme = f"---\nconfigs:\n- config_name: cb\n  data_files:\n{files}---\n"
    (tmp_path / "hub" / "README.md").write_text(readme)
    return tmp_path / "hub"


def test_hub_records_carry_label_names(settings, hub_folder):
    data = HubData(source="hub", id=str(hub_folder), revision="main", holdout=0.0, predict=True)
    records = read_records(data, settings.task)
    assert [record.fields["label"] for record in records.splits["train"]][:3] == [
        "entailment",
        "contradiction",
        "neutral",
    ]
    assert "label" not in records.splits["test"][0].fields
    assert records.splits["validation"][1].where.endswith("cb validation[1]")
    # By content: a folder's files may change under the same revision.
    before = dict(records.fingerprint)
    assert set(before) == {"cb/train", "cb/validation"}
    path = hub_folder / "cb" / "validation-00000-of-00001.parquet"
    table = datasets.Dataset.from_parquet(str(path), cache_dir=str(hub_folder.parent / "cache"))
    table.select([1, 2]).to_parquet(path)
    after = read_records(data, settings.task).fingerprint
    assert after["cb/train"] == before["cb/train"] and after["cb/validation"] != before["cb/validation"]


def test_a_missing_hub_data_set_is_named(settings):
    data = HubData(source="hub", id="nobody/nothing", revision="main", holdout=0.0, predict=False)
    with pytest.raises(
        UserError, match=r"^data\.id=nobody/nothing \(config cb, revision main\): cannot be loaded"
    ):
        read_records(data, settings.task)


def test_multirc_and_record_are_read_from_the_hub(tmp_path):
    """Nested ids, class labels, and lists of answers, which test records lack."""
    text, number = datasets.Value("string"), datasets.Value("int32")
    multirc = datasets.Features(
        paragraph=text, question=text, answer=text, label=datasets.ClassLabel(names=["False", "True"]),
        idx={"paragraph": number, "question": number, "answer": number},
    )  # fmt: skip
    record = datasets.Features(
        passage=text, query=text, entities=datasets.List(text), answers=datasets.List(text),
        idx={"passage": number, "query": number},
    )  # fmt: skip
    rows = {
        "multirc": lambda i, labelled: {"paragraph": "A dog.", "question": f"What {i}?", "answer": "a dog",
            "label": i % 2 if labelled else -1, "idx": {"paragraph": 0, "question": i, "answer": i}},
        "record": lambda i, labelled: {"passage": "Mary ran.", "query": f"@placeholder {i}", "entities": ["Mary"],
            "answers": ["Mary", "she"] if labelled else [], "idx": {"passage": 0, "query": i}},
    }  # fmt: skip
    configs = ""
    for name, features in (("multirc", multirc), ("record", record)):
        configs += f"- config_name: {name}\n  data_files:\n"
        for k, split in enumerate(("train", "validation", "test")):
            path = tmp_path / "hub" / name / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            content = [rows[name](10 * k + i, split != "test") for i in range(2)]
            datasets.Dataset.from_list(content, features=features).to_parquet(path)
            configs += f"  - split: {split}\n    path: {name}/{split}.parquet\n"
    (tmp_path / "hub" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    data = HubData(source="hub", id=str(tmp_path / "hub"), revision="main", holdout=0.0, predict=True)
    rendered = {}
    for name in ("multirc", "record"):
        task = parse_task_settings(yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text()))
        splits = read_records(data, task).splits
        rendered[name] = [render(task, one) for one in splits["train"]]
        assert render(task, splits["test"][1], labelled=False).label is None
        assert next(iter(splits["test"][1].fields["idx"].values())) == 0
    assert [one.label for one in rendered["multirc"]] == [1, 0]  # False is the second answer
    assert rendered["multirc"][0].group != rendered["multirc"][1].group
    assert [one.answers for one in rendered["record"]] == [("Mary", "she")] * 2
