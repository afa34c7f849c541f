"""Runs that are resumed or asked for again: after an interruption, with damaged files, of an older version."""

import csv
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from softprompt import interruption
from softprompt.errors import UserError
from softprompt.runs import Run
from softprompt.settings import Settings
from softprompt.training.callbacks.checkpoint import SaveRuns
from softprompt.training.run_state import RunState
from softprompt.training.train import train_pack
from softprompt.training.tuning import PromptTuning
from tests.conftest import cb_records, checkpoint_state, write_jsonl
from tests.integration.interrupted import cut_off


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=200, quiet=False, file=open("/dev/null", "w"))


def train(settings: Settings, console: Console) -> Run:
    (run,) = train_pack([settings], console)
    return run


def rows(run: Run) -> list[dict[str, float]]:
    with (run.path / "metrics.csv").open() as file:
        return [{k: float(v or "nan") for k, v in row.items()} for row in csv.DictReader(file)]


def test_asked_again_a_finished_run_is_left_alone(settings, console, monkeypatch):
    run = train(settings, console)
    before = {p: p.read_bytes() for p in run.path.iterdir()}
    monkeypatch.setattr(PromptTuning, "training_step", lambda *_: pytest.fail("trained again"))
    train(settings, console)
    assert {p: p.read_bytes() for p in run.path.iterdir()} == before
    assert f"{run.path} is done (exact match" in console.export_text()


@pytest.mark.parametrize("at_step", [1, 3, 4])  # in the first epoch, in the middle of the second, at its end
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(settings, console, tmp_path, at_step):
    settings = replace(settings, trainer=replace(settings.trainer, checkpoint_seconds=0.0))
    whole = train(settings, console)
    cut = replace(settings, output_root=str(tmp_path / "cut"))
    with cut_off(at_step):
        train(cut, console)
    resumed = train(cut, console)
    if at_step > 1:
        assert f"resumed at step {at_step - 1}" in console.export_text()
    assert (resumed.path / "prompt.safetensors").read_bytes() == (
        whole.path / "prompt.safetensors"
    ).read_bytes()
    for mine, other in zip(rows(resumed), rows(whole), strict=True):
        assert {**mine, "seconds": 0} == pytest.approx({**other, "seconds": 0}, nan_ok=True, rel=0, abs=0)


def test_a_pack_resumed_at_unequal_steps_ends_as_if_it_had_not_been(settings, console, tmp_path, monkeypatch):
    """Killed between two writes: one run's checkpoint is newer than the other's."""
    options = replace(settings.trainer, checkpoint_seconds=0.0, max_steps=5)
    settings = replace(settings, trainer=options)
    pack = [settings, replace(settings, seed=1)]
    whole = train_pack(pack, console)
    cut = [replace(run, output_root=str(tmp_path / "cut")) for run in pack]
    original, saves = RunState.save, []

    def save(self, run, optimizer_state):
        saves.append(run)
        if len(saves) > 4 and run.settings.seed == 1 and self.order.total_steps == 3:
            raise ConnectionAbortedError
        original(self, run, optimizer_state)

    monkeypatch.setattr(RunState, "save", save)
    with pytest.raises(ConnectionAbortedError):
        train_pack(cut, console)
    monkeypatch.setattr(RunState, "save", original)
    places = {checkpoint_state(p)["order"]["step"] for p in (tmp_path / "cut").rglob("last.ckpt")}
    assert len(places) == 2
    for mine, other in zip(train_pack(cut, console), whole, strict=True):
        assert mine.result()["steps"] == other.result()["steps"] == 5
        assert [row["step"] for row in rows(mine)] == [row["step"] for row in rows(other)] == [0, 2, 4, 5]
        torch.testing.assert_close(
            mine.best_prompt().matrix, other.best_prompt().matrix, rtol=1e-3, atol=1e-4
        )


def test_a_run_that_had_stopped_needs_no_step_to_finish(settings, console, monkeypatch):
    run = train(settings, console)
    before = run.result()
    (run.path / "result.json").unlink()
    monkeypatch.setattr(PromptTuning, "training_step", lambda *_: pytest.fail("trained again"))
    assert train(settings, console).result() == before


def test_a_run_keeps_the_dtype_it_was_begun_in(settings, console, monkeypatch):
    auto = replace(settings, model=replace(settings.model, dtype="auto"))
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    run = train(auto, console)
    assert run.result()["backbone"]["dtype"] == "bfloat16"
    (run.path / "result.json").unlink()
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    assert train(auto, console).result()["backbone"]["dtype"] == "bfloat16"


def test_a_broken_checkpoint_is_named(settings, console):
    run = train(settings, console)
    (run.path / "result.json").unlink()
    (run.path / "last.ckpt").write_bytes(b"PK nonsense")
    (run.path / "previous.ckpt").write_bytes(b"nonsense")
    with pytest.raises(
        UserError,
        match=r"last\.ckpt: cannot be read as .*previous\.ckpt: its content .* checksum; remove the run's folder",
    ):
        train(settings, console)


def test_a_checkpoint_of_version_0_2_is_resumed_with_a_remark(settings, console, monkeypatch):
    whole = train(settings, console)
    expected = whole.best_prompt().matrix
    for name in ("result.json", "previous.ckpt", "prompt.safetensors"):
        (whole.path / name).unlink()
    state = checkpoint_state(whole.path / "last.ckpt")
    older = {name: value for name, value in state.items() if name not in ("initial", "loss_to_beat")}
    older["evaluations_since_best"] = older.pop("evaluations_without_improvement")
    torch.save(older, whole.path / "last.ckpt")
    assert train(settings, console).best_prompt().matrix.equal(expected)
    assert "last.ckpt: was written by softprompt 0.2, without a checksum" in console.export_text()


def test_another_runs_checkpoint_is_refused_and_the_previous_one_used(settings, console, tmp_path):
    whole = train(settings, console)
    expected = whole.best_prompt().matrix
    other = train(replace(settings, seed=1), console)
    (whole.path / "result.json").unlink()
    (whole.path / "last.ckpt").write_bytes((other.path / "last.ckpt").read_bytes())
    assert train(settings, console).best_prompt().matrix.equal(expected)
    remarks = console.export_text()
    assert f"last.ckpt: it belongs to {other.id}" in remarks and "previous.ckpt: used instead" in remarks


def test_a_run_that_was_interrupted_at_the_end_of_an_epoch_gets_its_evaluation(
    settings, console, tmp_path, monkeypatch
):
    """A signal may come while the last evaluation runs: the state is saved before it, and evaluated when it goes on."""
    whole = train(settings, console)
    cut = replace(settings, output_root=str(tmp_path / "cut"))

    def received_in_evaluation():
        return signal.SIGTERM if in_evaluation else None

    in_evaluation = []
    original = SaveRuns.on_validation_batch_start

    def start(self, trainer, module, *arguments):
        if isinstance(module, PromptTuning) and module.runs[0].order.epoch == 2:
            in_evaluation.append(1)
        original(self, trainer, module, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SaveRuns, "on_validation_batch_start", start)
        patch.setattr(interruption, "received", received_in_evaluation)
        patch.setattr(interruption, "_ending", None)  # set by `end`, and None again after this context
        with pytest.raises(interruption.Interrupted) as caught:
            train(cut, console)
    assert caught.value.code == 143
    resumed = train(cut, console)
    assert "resumed at step 4" in console.export_text()
    assert resumed.best_prompt().matrix.equal(whole.best_prompt().matrix)
    for mine, other in zip(rows(resumed), rows(whole), strict=True):
        assert {**mine, "seconds": 0} == pytest.approx({**other, "seconds": 0}, nan_ok=True, rel=0, abs=0)


def test_damaged_baselines_are_computed_again(settings, console):
    run = train(settings, console)
    (path,) = run.path.parent.glob("baselines-*.json")
    expected = path.read_bytes()
    for content in (b"{}", b"", expected.replace(b"0.", b"1."), b"[1]"):
        path.write_bytes(content)
        (run.path / "result.json").unlink(missing_ok=True)
        train(settings, console)
        assert path.read_bytes() == expected


def test_predictions_that_are_damaged_or_of_other_records_are_written_anew(
    settings, console, data_folder, tmp_path
):
    root = tmp_path / "data"
    shutil.copytree(data_folder, root)
    asked = replace(settings, data=replace(settings.data, predict=True, root=str(root)))
    run = train(asked, console)
    prompt, expected = (run.path / "prompt.safetensors").stat().st_mtime_ns, run.predictions.read_bytes()
    for damage in (lambda: run.predictions.write_bytes(expected[:-9]), run.predictions.unlink):
        damage()
        assert train(asked, console).predictions.read_bytes() == expected and run.done
    run.predictions.write_bytes(b"")
    train(replace(asked, data=replace(asked.data, predict=False)), console)
    assert run.done and run.predictions.read_bytes() == b""  # not asked for
    write_jsonl(root / "CB" / "test.jsonl", cb_records(3))
    assert train(asked, console).predictions.read_text().count("\n") == 3
    assert (run.path / "prompt.safetensors").stat().st_mtime_ns == prompt  # the run itself was not touched


def test_a_run_that_max_time_stops_is_not_finished_and_fails(settings, console):
    limits = replace(settings.trainer, max_epochs=1000, patience=1000, extra={"max_time": "00:00:00:00"})
    with pytest.raises(
        UserError, match=r"text-seed0-.*: not finished after \d+ steps; the same command goes on"
    ):
        train(replace(settings, trainer=limits), console)
