"""A run on files in MultiRC's official layout, with its official metrics."""

import json
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from rich.console import Console
from sklearn.metrics import f1_score

import softprompt
from softprompt.data.sources import read_records
from softprompt.errors import UserError
from softprompt.runs import Run
from softprompt.submission import main, submission, write_submission
from softprompt.training.train import train_pack
from tests.conftest import composed, write_jsonl


def line(idx: int, *, labelled: bool = True) -> dict[str, object]:
    """A paragraph with two questions, one of three answers and one of two, which have numbers of their own."""
    animal = ("dog", "cat")[idx % 2]
    questions = [
        {"question": question, "idx": 2 * idx + k,
         "answers": [{"text": text, "idx": 5 * idx + 3 * k + i, "label": int(text == animal)}
                     for i, text in enumerate(["dog", "cat", "hypothesis"][: 3 - k])]}
        for k, question in enumerate(["is a", "is big"])
    ]  # fmt: skip
    if not labelled:
        for question in questions:
            for answer in question["answers"]:  # type: ignore[attr-defined]
                del answer["label"]
    return {"idx": idx, "version": 1.1, "passage": {"text": f"a {animal} is big", "questions": questions}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Run:
    root = tmp_path_factory.mktemp("multirc")
    write_jsonl(root / "MultiRC" / "train.jsonl", [line(i) for i in range(4)])
    write_jsonl(root / "MultiRC" / "val.jsonl", [line(i) for i in range(4, 9)])
    write_jsonl(root / "MultiRC" / "test.jsonl", [line(i, labelled=False) for i in range(9, 11)])
    settings = composed(
        "task=multirc", "data=superglue_jsonl", f"data.root={root}", f"model.id={model_folder}", "model.package=null",
        "trainer=cpu", "trainer.max_epochs=2", "optim.lr=0.05", f"output_root={root}", "data.predict=true",
    )  # fmt: skip
    (run,) = train_pack([settings], Console(quiet=True))
    return run


def test_a_result_has_the_tasks_metrics(run: Run) -> None:
    result = run.result()
    names = {"f1a", "question_exact_match"}
    assert all(names < set(result["baselines"][name]) for name in ("no_prompt", "instruction"))
    assert names < set(result["selection"]) and result["tuned"]["n"] == 25
    records = read_records(run.settings.data, run.settings.task).splits["validation"]
    predicted = [
        answer == "True" for answer in softprompt.load(run.path).predict([r.fields for r in records])
    ]
    right = [record.fields["label"] == 1 for record in records]
    assert result["tuned"]["f1a"] == pytest.approx(f1_score(right, predicted), abs=1e-5)
    questions = defaultdict(list)
    for record, a, b in zip(records, predicted, right, strict=True):
        questions[record.where.partition(", answer")[0]].append(a == b)
    assert len(questions) == 10
    assert result["tuned"]["question_exact_match"] == pytest.approx(
        sum(map(all, questions.values())) / 10, abs=1e-5
    )


def test_a_submission_has_the_official_nesting(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["submission", str(run.path), str(tmp_path)])
    main()
    assert capsys.readouterr().out == f"written to {tmp_path / 'MultiRC.jsonl'}\n"
    label_of = {
        tuple(line["idx"].values()): line["label"]
        for line in map(json.loads, run.predictions.read_text().splitlines())
    }
    lines = [json.loads(text) for text in (tmp_path / "MultiRC.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "idx": 9,
        "passage": {
            "questions": [
                {"idx": 18, "answers": [{"idx": i, "label": label_of[9, 18, i]} for i in (45, 46, 47)]},
                {"idx": 19, "answers": [{"idx": i, "label": label_of[9, 19, i]} for i in (48, 49)]},
            ]
        },
    }
    assert [line["idx"] for line in lines] == [9, 10]
    with pytest.raises(SystemExit):
        main()
    assert "MultiRC.jsonl: exists already" in capsys.readouterr().err


def test_predictions_that_were_changed_are_no_submission(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / run.id
    shutil.copytree(run.path, copy)
    with (copy / "predictions.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(
        UserError, match=r"predictions\.jsonl: is missing or was changed; the training command"
    ):
        write_submission(copy, tmp_path)
    (copy / "predictions.jsonl").unlink()
    with pytest.raises(
        UserError, match=r"predictions\.jsonl: is missing or was changed; the training command"
    ):
        write_submission(copy, tmp_path)


def test_other_tasks_have_a_line_per_record() -> None:
    of_cb = {
        "record": "CB/test.jsonl:1",
        "idx": 0,
        "label": "neutral",
        "answer": "neutral",
        "probabilities": {},
    }
    of_record = {"record": "-", "idx": {"passage": 3, "query": 7}, "label": "Mary", "answer": "Mary"}
    assert list(submission([of_cb])) == [{"idx": 0, "label": "neutral"}]
    assert list(submission([of_record])) == [{"idx": 7, "label": "Mary"}]


def test_predictions_name_each_answer(run: Run) -> None:
    lines = [json.loads(text) for text in run.predictions.read_text().splitlines()]
    assert [line["idx"]["answer"] for line in lines] == list(range(45, 55))
    assert {line["label"] for line in lines} <= {0, 1}
