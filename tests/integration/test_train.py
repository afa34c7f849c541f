"""Real loops, from settings to a finished directory, on a tiny model."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

import softprompt
from softprompt.backbone import Backbone, load_backbone
from softprompt.errors import UserError
from softprompt.parsing import parse_settings
from softprompt.prompt import SoftPrompt
from softprompt.runs import Run, RunLock, find_runs, run_id
from softprompt.runs.checkpoint import save_checkpoint
from softprompt.runs.identity import without_details
from softprompt.settings import OptimSettings, PromptSettings, Settings
from softprompt.study import Study
from softprompt.training.train import train_pack
from softprompt.training.tuning import PromptTuning
from tests.conftest import ROOT, cb_records, checkpoint_state, make_model, write_jsonl
from tests.integration.small_sweep import ANALYSIS


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=200, quiet=False, file=open("/dev/null", "w"))


def train(settings: Settings, console: Console) -> Run:
    (run,) = train_pack([settings], console)
    return run


def rows(run: Run) -> list[dict[str, float]]:
    with (run.path / "metrics.csv").open() as file:
        return [{k: float(v or "nan") for k, v in row.items()} for row in csv.DictReader(file)]


def test_a_run_leaves_all_that_was_promised(settings, console):
    run = train(settings, console)
    assert {p.name for p in run.path.iterdir()} == {
        "config.yaml", "initial.safetensors", "prompt.safetensors", "metrics.csv", "last.ckpt", "previous.ckpt",
        "result.json",
    }  # fmt: skip
    assert run.path.parent.parent.name == "test" and run.path.parent.name == "cb"
    assert parse_settings(yaml.safe_load((run.path / "config.yaml").read_text())) == settings
    result = run.result()
    assert result["steps"] == 6 and result["epochs"] == 3 and result["stopped"] == "max_epochs"
    assert result["examples"] == {"train": 12, "selection": 8, "validation": 8}
    assert result["baselines"]["majority"] == 3 / 8
    assert result["baselines"]["no_prompt"]["n"] == result["tuned"]["n"] == 8
    assert {"CB/train.jsonl", "CB/val.jsonl", "model/model.safetensors"} <= set(result["hashes"])
    assert len(rows(run)) == 4
    start, best = (SoftPrompt.load(run.path / f"{name}.safetensors") for name in ("initial", "prompt"))
    assert best.step == result["best_step"] > 0 and not torch.equal(start.matrix, best.matrix)
    assert best.initial_tokens == start.initial_tokens and best.backbone == settings.model.id
    # The untuned instruction is what a text prompt starts from.
    assert rows(run)[0]["loss"] == pytest.approx(result["baselines"]["instruction"]["loss"])


def test_it_learns(settings, console):
    run = train(replace(settings, trainer=replace(settings.trainer, max_epochs=40, patience=40)), console)
    curve = rows(run)
    assert curve[-1]["train_loss"] < 0.2 * curve[1]["train_loss"]
    assert run.result()["tuned"]["loss"] < 0.2 * curve[0]["loss"]
    assert run.result()["tuned"]["exact_match"] > run.result()["baselines"]["instruction"]["exact_match"]


def test_a_checkpoint_holds_no_backbone(settings, console):
    run = train(settings, console)
    backbone_bytes = sum(p.stat().st_size for p in [*run.path.parent.rglob("*")] if p.suffix == ".bin")
    assert backbone_bytes == 0 and (run.path / "last.ckpt").stat().st_size < 30_000
    state = checkpoint_state(run.path / "last.ckpt")
    assert state["prompt"].shape == (11, 32) and set(state["optimizer_state"]) == {
        "step",
        "exp_avg",
        "exp_avg_sq",
    }


@pytest.mark.parametrize("optim", ["adam", "adamw", "adafactor", "sgd"])
def test_every_optimiser_trains_and_resumes(config, console, tmp_path, optim):
    config["optim"] = {**yaml.safe_load((ROOT / f"conf/optim/{optim}.yaml").read_text()), "lr": 0.05}
    settings = parse_settings(config)
    whole = train(settings, console)
    assert whole.result()["best_step"] > 0
    # A run of one epoch is made the beginning of the longer run by hand, because limits are part of a run's identity.
    part = replace(settings, output_root=str(tmp_path / "part"))
    part_run = Run.of(part, whole.result()["hashes"])
    short = replace(part, trainer=replace(part.trainer, max_epochs=1))
    first = train(short, console)
    first.path.rename(part_run.path)
    (part_run.path / "result.json").unlink()
    save_checkpoint(part_run, {**checkpoint_state(part_run.path / "last.ckpt"), "stopped": None})
    resumed = train(part, console)
    assert SoftPrompt.load(resumed.path / "prompt.safetensors").matrix.equal(
        SoftPrompt.load(whole.path / "prompt.safetensors").matrix
    )


def test_a_held_out_part_selects_and_validation_reports(settings, console):
    run = train(replace(settings, data=replace(settings.data, holdout=0.25)), console)
    result = run.result()
    assert result["examples"] == {"train": 9, "selection": 3, "validation": 8}
    assert result["selected_on"] == "holdout" and result["tuned"]["n"] == 8
    assert rows(run)[0]["n"] == 3


def test_steps_are_limited_and_the_end_is_evaluated(settings, console):
    run = train(replace(settings, trainer=replace(settings.trainer, max_steps=3)), console)
    assert run.result()["steps"] == 3 and run.result()["stopped"] == "max_steps"
    assert [row["step"] for row in rows(run)] == [0, 2, 3]


def test_early_stopping_ends_before_the_last_epoch(settings, console):
    options = replace(settings.trainer, patience=2, max_epochs=50)
    # Steps too small to change a float32: the loss stays what it was, and that is no improvement.
    run = train(replace(settings, trainer=options, optim=replace(settings.optim, lr=1e-12)), console)
    result = run.result()
    assert (result["stopped"], result["epochs"], result["best_step"]) == ("early", 2, 0)


def test_a_loss_that_is_no_number_fails_the_run_and_says_so(settings, console, monkeypatch):
    original = PromptTuning._clip_gradients

    def poison(self):
        if self.prompts[0].grad is not None:
            self.prompts[0].grad.fill_(float("nan"))
        original(self)

    monkeypatch.setattr(PromptTuning, "_clip_gradients", poison)
    with pytest.raises(
        UserError, match=r"the training loss is nan at step 2; the run failed\. Lower optim\.lr"
    ):
        train(settings, console)
    folder = Run.of(settings, {}).path.parent
    assert not list(folder.rglob("result.json")) and len(list(folder.rglob("metrics.csv"))) == 1


def test_one_failing_run_leaves_the_others_of_its_pack_alone(settings, console, monkeypatch, tmp_path):
    original = PromptTuning._clip_gradients

    def poison(self):
        if len(self.prompts) == 2 and self.prompts[0].grad is not None:
            self.prompts[0].grad.fill_(float("nan"))
        original(self)

    monkeypatch.setattr(PromptTuning, "_clip_gradients", poison)
    other = replace(settings, seed=1)
    with pytest.raises(UserError, match=r"text-seed0-.*the training loss is nan"):
        train_pack([settings, other], console)
    with pytest.raises(UserError, match=r"text-seed0-.*: this run is not finished; train or remove"):
        find_runs(tmp_path / "outputs")
    (finished,) = find_runs(tmp_path / "outputs", skip_unfinished=True)
    alone = train(replace(other, output_root=str(tmp_path / "alone")), console)
    assert finished.result()["seed"] == 1
    torch.testing.assert_close(
        finished.best_prompt().matrix,
        SoftPrompt.load(alone.path / "prompt.safetensors").matrix,
        rtol=1e-3,
        atol=1e-4,
    )


def test_a_folder_that_holds_a_run_twice_is_not_analysed(settings, console, tmp_path):
    options = replace(settings.trainer, max_steps=1)
    for sweep in ("first", "second"):
        train(replace(settings, sweep=sweep, trainer=options), console)
    assert len(find_runs(tmp_path / "outputs" / "first")) == 1
    with pytest.raises(
        UserError, match=r"second.* and .*first.* are the same run; remove one of them, or name a folder"
    ):
        find_runs(tmp_path / "outputs")


def test_a_model_on_disk_is_known_by_its_content(config, console, tmp_path, tokenizer):
    folder = tmp_path / "model"
    tokenizer.save_pretrained(folder)
    config["model"]["id"] = str(folder)
    runs = []
    for width in (32, 16):
        make_model("bloom", hidden_size=width).save_pretrained(folder)
        load_backbone.cache_clear()
        config["model"]["revision"] = "no commit of this folder"
        runs.append(train(parse_settings(config), console))
    assert runs[0].id != runs[1].id
    assert runs[1].best_prompt().matrix.shape[1] == 16
    assert runs[1].result()["backbone"]["revision"] is None


@pytest.mark.parametrize("trained_before", [False, True])
def test_predictions_for_records_without_labels(settings, console, trained_before):
    if trained_before:
        train(settings, console)
    run = train(replace(settings, data=replace(settings.data, predict=True)), console)
    assert run.id == run_id(settings, run.result()["hashes"])
    lines = [json.loads(line) for line in (run.path / "predictions.jsonl").read_text().splitlines()]
    assert [line["record"].rpartition(":")[2] for line in lines] == ["1", "2", "3", "4", "5"]
    assert [line["idx"] for line in lines] == list(range(5))
    for line in lines:
        probabilities = line["probabilities"]
        assert list(probabilities) == list(settings.task.verbalizers)
        assert line["answer"] == line["label"] == max(probabilities, key=probabilities.__getitem__)
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_changed_data_or_settings_make_another_run(settings, console, tmp_path):
    first = train(settings, console)
    hashes = first.result()["hashes"]
    assert run_id(replace(settings, sweep="other"), hashes) == first.id
    circumstances = replace(settings.trainer, eval_batch_size=7, checkpoint_seconds=1.0)
    assert run_id(replace(settings, trainer=circumstances), hashes) == first.id
    assert run_id(replace(settings, seed=1), hashes) != first.id
    assert run_id(replace(settings, optim=replace(settings.optim, lr=0.04)), hashes) != first.id
    write_jsonl(tmp_path / "data" / "CB" / "train.jsonl", cb_records(12))
    write_jsonl(tmp_path / "data" / "CB" / "val.jsonl", cb_records(5))
    second = train(replace(settings, data=replace(settings.data, root=str(tmp_path / "data"))), console)
    assert second.id != first.id


def test_a_folder_says_what_was_set_by_hand_and_folders_of_older_versions_are_found(
    settings, console, monkeypatch
):
    settings = replace(
        settings,
        prompt=PromptSettings(init="random", length=4),
        optim=OptimSettings("sgd", "torch.optim.SGD", 0.25, {"momentum": 0.9}),
    )
    with monkeypatch.context() as older:
        older.setattr("softprompt.runs.run.run_id", lambda *of: without_details(run_id(*of), of[0]))
        first = train(settings, console)
    assert re.fullmatch("random-seed0-[0-9a-f]{8}", first.path.name)
    assert train(settings, console).path == first.path
    other = train(replace(settings, seed=1), console)
    assert re.fullmatch("random-seed1-4rows-sgd-lr0.25-[0-9a-f]{8}", other.path.name)


def test_a_prompt_starts_where_another_run_ended(settings, console):
    first = train(settings, console)
    path = str(first.path / "prompt.safetensors")
    second = train(replace(settings, prompt=PromptSettings(init="file", path=path)), console)
    start = SoftPrompt.load(second.path / "initial.safetensors")
    assert start.matrix.equal(SoftPrompt.load(first.path / "prompt.safetensors").matrix)
    assert second.path.name.startswith("file-seed0-")


def test_an_example_longer_than_the_context_stops_before_training(config, console, tmp_path, tokenizer):
    make_model("gpt2", n_positions=23).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    config["model"]["id"] = str(tmp_path / "gpt2")
    with pytest.raises(
        UserError, match=r"CB/train\.jsonl:2: 11 prompt rows and \d+ tokens do not fit .* of 23"
    ):
        train(parse_settings(config), console)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "/nowhere"}, r"^model\.id=/nowhere: cannot be loaded: "),
        ({"id": "nobody/nothing"}, r"^model\.id=nobody/nothing: cannot be loaded: "),
        (
            {"package": "no_such_package", "gguf_file": "x.gguf"},
            "no_such_package: is not installed: run `pip install",
        ),
    ],
)
def test_a_model_that_cannot_be_had_is_named(config, console, changes, message):
    config["model"].update(changes)
    with pytest.raises(UserError, match=message) as caught:
        train(parse_settings(config), console)
    assert "\n" not in str(caught.value)


def test_two_processes_cannot_train_one_run(settings, console):
    fingerprint = train(settings, console).result()["hashes"]
    run = Run.of(replace(settings, seed=1), fingerprint)
    with (
        RunLock(run.path, print),
        pytest.raises(UserError, match=rf"^{run.path}: process \d+ on host .+ has it since"),
    ):
        train(run.settings, console)
    assert train(run.settings, console).done


def test_a_field_that_does_not_fit_is_cut(config, console, monkeypatch):
    """The same texts in training, prediction, the report's answers and in a notebook."""
    monkeypatch.setattr(Backbone, "context_length", 22)
    with pytest.raises(
        UserError, match=r"train\.jsonl:1: 11 prompt rows and 13 tokens .* prompt_rows: 11\}'$"
    ):
        train(parse_settings(config), console)
    config["data"] |= {"truncate": {"field": "premise", "drop": "start", "prompt_rows": 11}, "predict": True}
    run = train(parse_settings(config), console)
    result = run.result()
    assert result["truncated"] == {"train": 8, "validation": 6, "test": 4}
    assert "data.truncate: cut the field 'premise' of 18 of 25 records" in console.export_text(clear=False)
    loaded = softprompt.load(run.path)
    records = [json.loads(line) for line in (Path(config["data"]["root"]) / "CB/val.jsonl").open()]
    assert loaded.score(records).loss == pytest.approx(result["tuned"]["loss"], abs=1e-5)
    study = Study(run.path.parent.parent, console, replace(ANALYSIS, sweep=str(run.path.parent.parent)))
    (answers,) = study.answers([[loaded.prompt.matrix]], "cb")
    assert answers.exact_match.mean() == pytest.approx(result["tuned"]["exact_match"], abs=1e-6)
    assert study.targets["cb"].rendered[1].text.startswith("\nPremise: cat runs\n")
    assert len(run.predictions.read_text().splitlines()) == 5
