"""Runs whose answers are free text, on the microworld's model."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import softprompt
from softprompt.data.sources import read_records
from softprompt.errors import UserError
from softprompt.lm_eval import write_task
from softprompt.peft import export
from softprompt.predict import predictions
from softprompt.report.write import write_report
from softprompt.runs import Run
from softprompt.settings import PredictSettings, Settings
from softprompt.training.train import train_pack
from tests.conftest import composed, write_jsonl
from tests.integration.interrupted import cut_off
from tests.integration.small_sweep import ANALYSIS
from tests.integration.test_packs import assert_equal, curve

QUIET = Console(quiet=True)


def with_list(root: Path, **changes: object) -> Settings:
    """CB of the microworld, with its list of answers."""
    settings = composed(
        "task=cb", "prompt=random", "prompt.length=5", "trainer=cpu", "trainer.max_epochs=2", "data.train=64",
        "data.validation=40", "data.predict=true", f"output_root={root}", "sweep=list",
    )  # fmt: skip
    return replace(settings, **changes)


def free(root: Path, **changes: object) -> Settings:
    """The same, with the label as free text."""
    settings = with_list(root, sweep="free", **changes)
    task = replace(settings.task, label=None, verbalizers={}, answers="label", max_answer_tokens=3)
    return replace(settings, task=task)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("free")


@pytest.fixture(scope="module")
def runs(root: Path) -> list[Run]:
    """Four seeds as a pack."""
    return train_pack([free(root, seed=seed) for seed in range(4)], QUIET)


def test_training_and_exact_match_are_those_of_a_list_of_the_same_answers(
    root: Path, runs: list[Run]
) -> None:
    (listed,) = train_pack([with_list(root)], QUIET)
    ours, theirs = runs[0].result(), listed.result()
    for a, b in zip(curve(runs[0]), curve(listed), strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), abs=1e-3)
        assert a["exact_match"] == b["exact_match"] and a["rank_accuracy"] == ""
    assert ours["tuned"]["exact_match"] == theirs["tuned"]["exact_match"] > 0.5
    assert ours["baselines"]["majority"] == theirs["baselines"]["majority"]
    for name in ("no_prompt", "instruction"):
        assert ours["baselines"][name]["exact_match"] == theirs["baselines"][name]["exact_match"]
    assert ours["tuned"]["rank_accuracy"] is None and ours["tuned"]["macro_f1"] is None
    assert ours["tuned"]["token_f1"] >= ours["tuned"]["exact_match"]
    answers = [json.loads(line)["answer"] for line in listed.predictions.read_text().splitlines()]
    written = [json.loads(line) for line in runs[0].predictions.read_text().splitlines()]
    same = sum(a == line["answer"] == line["label"] for a, line in zip(answers, written, strict=True))
    assert same / len(answers) >= theirs["tuned"]["exact_match"] - 0.2 and len(answers) == 40


def test_a_run_in_a_pack_is_what_it_would_have_been_alone(runs: list[Run], tmp_path: Path) -> None:
    (alone,) = train_pack([free(tmp_path, seed=1)], QUIET)
    assert_equal(runs[1], alone)
    assert runs[1].predictions.read_text() == alone.predictions.read_text()


def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(
    root: Path, runs: list[Run], tmp_path: Path
) -> None:
    limits = replace(free(root).trainer, checkpoint_seconds=0.0)
    with cut_off(10):
        train_pack([free(tmp_path / "cut", trainer=limits)], QUIET)
    console = Console(record=True, width=200, file=(tmp_path / "out").open("w"))
    (resumed,) = train_pack([free(tmp_path / "cut", trainer=limits)], console)
    assert "resumed at step 9" in console.export_text(clear=False)
    assert re.search(r" –  +\d+\.\d% +– ", console.export_text()), (
        "rank accuracy and invalid answers are dashes"
    )
    (whole,) = train_pack([free(tmp_path / "whole")], QUIET)
    assert (resumed.path / "prompt.safetensors").read_bytes() == (
        whole.path / "prompt.safetensors"
    ).read_bytes()
    assert curve(resumed) == curve(whole)


def test_a_notebook_and_the_command_give_the_text(runs: list[Run], tmp_path: Path) -> None:
    run = runs[0]
    records = read_records(run.settings.data, run.settings.task).splits["test"]
    fields = [
        {"premise": r.fields["premise"], "hypothesis": r.fields["hypothesis"], "idx": i}
        for i, r in enumerate(records)
    ]
    expected = [json.loads(line)["answer"] for line in run.predictions.read_text().splitlines()]
    trained = softprompt.load(run.path)
    assert trained.predict(fields) == expected
    write_jsonl(tmp_path / "records.jsonl", fields)
    lines = predictions(PredictSettings(str(run.path), str(tmp_path / "records.jsonl"), batch=16))
    assert [json.loads(line) for line in lines] == [
        {"idx": i, "answer": text} for i, text in enumerate(expected)
    ]
    validation = read_records(run.settings.data, run.settings.task).splits["validation"]
    scores = trained.score([record.fields for record in validation])
    assert scores.exact_match == run.result()["tuned"]["exact_match"] and scores.rank_accuracy is None
    with pytest.raises(UserError, match=r"^task 'cb': its answers are free text"):
        trained.probabilities(fields)
    with pytest.raises(UserError, match=r"answers of task 'cb' are free text, and only tasks with a list"):
        write_task(run.path, tmp_path / "tasks")
    export(run.path, tmp_path / "adapter")
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "free text of at most 3 tokens" in card and re.search(r"\| this prompt \| \d+\.\d% \| – \|", card)


def test_the_report_says_what_it_leaves_out(root: Path, runs: list[Run]) -> None:
    listed = with_list(root, sweep="free")
    train_pack([replace(listed, task=replace(listed.task, name="listed"))], QUIET)
    write_report(replace(ANALYSIS, sweep=str(root / "free")), QUIET)
    folder = root / "free" / "analysis"
    page = (folder / "report.html").read_text()
    assert (
        page.count("Left out, because this section compares prompts by a fixed list of answers, and the") == 9
    )
    tables = {path.stem for path in (folder / "tables").glob("*.csv")}
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {"scores", "scores_by_task", "steps_to_level", "neighbours", "norms", "distances"} <= tables
    assert {"learning_curves", "norms", "projection"} <= figures
    table = (folder / "tables" / "scores.csv").read_text().splitlines()
    row, *_, of_list = (dict(zip(table[0].split(","), line.split(","), strict=True)) for line in table[1:])
    assert of_list["task"] == "listed" and of_list["token_f1"] == "" and float(of_list["rank_accuracy"]) > 0
    assert row["rank_accuracy"] == "" and float(row["token_f1"]) == pytest.approx(
        runs[0].result()["tuned"]["token_f1"]
    )


def test_a_tenth_of_train_can_select_the_prompt(root: Path) -> None:
    settings = free(root, data=replace(free(root).data, holdout=0.25, predict=False))
    (run,) = train_pack([settings], QUIET)
    result = run.result()
    assert (
        result["examples"] == {"train": 48, "selection": 16, "validation": 40} and result["tuned"]["n"] == 40
    )


def test_files_of_records_official_layout(root: Path, model_folder: Path) -> None:
    """ReCoRD: a passage with its queries in a line, of which each has several right answers."""

    def line(idx: int) -> dict[str, object]:
        text = "a dog runs\n@highlight\nthe cat sleeps"
        entities = [{"start": 2, "end": 4}, {"start": 26, "end": 28}]
        answers = [{"start": 2, "end": 4, "text": "dog"}, {"start": 26, "end": 28, "text": "cat"}]
        queries = [{"query": "the red is big", "answers": answers[k:], "idx": 2 * idx + k} for k in range(2)]
        return {"source": "-", "passage": {"text": text, "entities": entities}, "qas": queries, "idx": idx}

    for split, places in {"train": range(3), "val": range(3, 6), "test": range(6, 8)}.items():
        lines = [line(idx) for idx in places]
        if split == "test":
            for fields in lines:
                for query in fields["qas"]:  # type: ignore[attr-defined]
                    del query["answers"]
        write_jsonl(root / "data" / "ReCoRD" / f"{split}.jsonl", lines)
    settings = composed(
        "task=record", "data=superglue_jsonl", f"data.root={root / 'data'}", f"model.id={model_folder}",
        "model.package=null", "trainer=cpu", "trainer.max_epochs=30",
        "trainer.batch_size=2", "trainer.patience=30", "optim.lr=0.05", "data.predict=true",
        f"output_root={root}", "task.instruction=Does the premise?",
    )  # fmt: skip
    (run,) = train_pack([settings], QUIET)
    assert run.result()["tuned"]["exact_match"] >= 0.5
    lines = [json.loads(text) for text in run.predictions.read_text().splitlines()]
    assert [line["idx"] for line in lines] == [{"passage": 6 + k // 2, "query": 12 + k} for k in range(4)]
    assert {line["label"] for line in lines} <= {"dog", "cat"}
    assert Run.at(run.path).settings == settings
