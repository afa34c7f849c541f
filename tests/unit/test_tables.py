"""Records from files of several formats, whose columns may have other names."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from softprompt.data.sources import moved, read_records
from softprompt.errors import UserError
from softprompt.runs import run_id
from softprompt.settings import FilesData, Settings
from softprompt.tasks import render

COLUMNS = {"premise": "first", "label": "is_neutral"}
ROWS = [("a dog, a cat", "a dog", "1"), ("7", 'it is "big"\nand red', "0"), ("a cat", "a dog", "1")]


@pytest.fixture
def own(settings: Settings) -> Settings:
    """A task whose labels are a number and a truth value."""
    return replace(settings, task=replace(settings.task, verbalizers={"neutral": [1], "contradiction": [0]}))


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def write(folder: Path, kind: str, rows: list[tuple[str, str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    for split, part in (("train", rows[:2]), ("val", rows[2:])):
        path = folder / f"{split}.{kind}"
        if kind == "parquet":
            columns = {"first": [a for a, _, _ in part], "hypothesis": [b for _, b, _ in part],
                       "is_neutral": [int(c) for _, _, c in part]}  # fmt: skip
            pq.write_table(pa.table(columns), path)
        else:
            delimiter = {"csv": ",", "tsv": "\t"}[kind]
            lines = [("first", "hypothesis", "is_neutral"), *part]
            text = "\r\n".join(delimiter.join(map(quoted, line)) for line in lines)
            path.write_text("\ufeff" + text, newline="")  # as spreadsheets write it


def files(folder: Path, kind: str, **changes: object) -> FilesData:
    paths = {"train": str(folder / f"train.{kind}"), "validation": str(folder / f"val.{kind}")}
    return FilesData(**{"source": "files", **paths, "test": None, "columns": COLUMNS, "holdout": 0.0,
                        "predict": False, **changes})  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_every_format_gives_the_same_records(own: Settings, tmp_path: Path, kind: str) -> None:
    write(tmp_path, kind, ROWS)
    records = read_records(files(tmp_path, kind), own.task)
    names = ("premise", "hypothesis", "label")
    found = [tuple(record.fields[name] for name in names) for record in records.splits["train"]]
    assert found == [(a, b, int(c)) for a, b, c in ROWS[:2]]
    assert len(records.splits["validation"]) == 1


def test_truth_values_are_read_however_they_are_written(own: Settings, tmp_path: Path) -> None:
    task = replace(own.task, verbalizers={"neutral": [True], "contradiction": [False]})
    write(tmp_path, "csv", [("a", "b", "TRUE"), ("a", "c", "false"), ("d", "e", "True")])
    records = read_records(files(tmp_path, "csv"), task)
    assert [record.fields["label"] for record in records.splits["train"]] == [True, False]


def test_numbers_give_the_same_text_in_every_format(own: Settings, tmp_path: Path) -> None:
    rows = [(3, 2.5, 1), (-7, 0.125, 0)]
    for split in ("train", "val"):
        columns = dict(
            zip(("first", "hypothesis", "is_neutral"), map(list, zip(*rows, strict=True)), strict=True)
        )
        pq.write_table(pa.table({**columns, "split": [split] * 2}), tmp_path / f"{split}.parquet")
        table = pq.read_table(tmp_path / f"{split}.parquet").to_pandas()
        table.to_csv(tmp_path / f"{split}.csv", index=False)
        table.to_json(tmp_path / f"{split}.jsonl", orient="records", lines=True)
    texts = {}
    for kind in ("parquet", "csv", "jsonl"):
        records = read_records(files(tmp_path, kind), own.task).splits["train"]
        texts[kind] = [(render(own.task, record).text, record.fields["label"]) for record in records]
    assert texts["parquet"] == texts["csv"] == texts["jsonl"]
    assert "Premise: 3\nHypothesis: 2.5\n" in texts["csv"][0][0]


def test_null_is_refused_with_its_place(own: Settings, tmp_path: Path) -> None:
    for split in ("train", "val"):
        table = pa.table({"first": [7, None], "hypothesis": [split, "b"], "is_neutral": [1, 0]})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    _, record = read_records(files(tmp_path, "parquet"), own.task).splits["train"]
    with pytest.raises(UserError, match=r"train\.parquet\[1\]: field 'premise' is null"):
        render(own.task, record)


def test_a_run_is_known_by_the_content_of_its_files(own: Settings, tmp_path: Path) -> None:
    def id_in(folder: Path, rows: list[tuple[str, str, str]] = ROWS) -> str:
        write(folder, "csv", rows)
        settings = replace(own, data=files(folder, "csv"))
        return run_id(settings, read_records(settings.data, settings.task).fingerprint)

    assert id_in(tmp_path / "a") == id_in(tmp_path / "b") != id_in(tmp_path / "c", ROWS[::-1])
    elsewhere = moved(files(tmp_path / "a", "csv"), str(tmp_path / "b"))
    assert elsewhere == files(tmp_path / "b", "csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "first,hypothesis\na,b\n",
            r"train\.csv: no column 'is_neutral' for 'label' of task 'cb'; it has 'first', 'hy",
        ),
        (
            "first,hypothesis,is_neutral\na,b\n",
            r"train\.csv:2: has another number of cells than the first line",
        ),
        (
            "first,hypothesis,is_neutral\na,b,1,c\n",
            r"train\.csv:2: has another number of cells than the first line",
        ),
        ('first,hypothesis,is_neutral\n"a,b,1\n', r"train\.csv:\d+: cannot be read \(unexpected end of data"),
        ("first,first,is_neutral\na,b,1\n", r"train\.csv:1: two columns have the same name"),
        ("first,hypothesis,is_neutral\n", r"train\.csv: the file has no records"),
        ("first,hypothesis,is_neutral\n\xff", r"train\.csv: not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    own: Settings, tmp_path: Path, content: str, message: str
) -> None:
    write(tmp_path, "csv", ROWS)
    (tmp_path / "train.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        read_records(files(tmp_path, "csv"), own.task)


def test_other_files_are_refused(own: Settings, tmp_path: Path) -> None:
    (tmp_path / "train.xlsx").write_bytes(b"x")
    with pytest.raises(UserError, match=r"train\.xlsx: is none of \.jsonl, \.csv, \.tsv and \.parquet"):
        read_records(
            files(
                tmp_path, "csv", train=str(tmp_path / "train.xlsx"), validation=str(tmp_path / "train.xlsx")
            ),
            own.task,
        )
    (tmp_path / "train.parquet").write_bytes(b"x")
    with pytest.raises(UserError, match=r"train\.parquet: cannot be read"):
        read_records(files(tmp_path, "parquet", validation=str(tmp_path / "train.parquet")), own.task)
    with pytest.raises(
        UserError, match=r"data\.columns\.premis: task 'cb' has no such field; it has premise, hyp"
    ):
        write(tmp_path, "csv", ROWS)
        read_records(files(tmp_path, "csv", columns={**COLUMNS, "premis": "first"}), own.task)
    with pytest.raises(UserError, match=r"data\.predict=true needs data\.test"):
        read_records(files(tmp_path, "csv", predict=True), own.task)
