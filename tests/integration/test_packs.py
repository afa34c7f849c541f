"""Packs: runs that are trained side by side, and runs that take the places of those that have stopped."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from softprompt.backbone import Backbone, load_backbone
from softprompt.errors import UserError
from softprompt.kind import kind
from softprompt.prompt import SoftPrompt
from softprompt.runs import Run, RunLock
from softprompt.settings import ModelSettings, OptimSettings, PromptSettings, Settings
from softprompt.training import shared, waiting
from softprompt.training.out_of_memory import DeviceFull
from softprompt.training.pack_size import LARGEST_PACK, size_that_fits
from softprompt.training.train import run_of, train_pack, train_runs
from softprompt.training.tuning import PromptTuning
from tests.conftest import checkpoint_state

QUIET = Console(quiet=True)


def different_runs(settings: Settings) -> list[Settings]:
    """Runs of one kind that differ in everything in which they may differ."""
    limits = settings.trainer
    return [
        replace(settings, trainer=replace(limits, max_epochs=6, patience=1)),
        replace(settings, seed=1, prompt=PromptSettings(init="random", length=4)),
        replace(settings, seed=2, optim=replace(settings.optim, lr=0.01)),
        replace(settings, seed=3, optim=OptimSettings("sgd", "torch.optim.SGD", 0.5, {"momentum": 0.9})),
        replace(settings, seed=4, trainer=replace(limits, max_steps=3)),
        replace(settings, seed=5, trainer=replace(limits, gradient_clip_val=0.01)),
        replace(settings, seed=6, prompt=PromptSettings(init="vocab", length=9)),
        replace(settings, seed=7, trainer=replace(limits, early_evaluations=True)),
    ]


def curve(run: Run) -> list[dict[str, str]]:
    """The learning curve without the times."""
    with (run.path / "metrics.csv").open() as file:
        return [{name: v for name, v in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_equal(mine: Run, other: Run) -> None:
    """Both ended in the same way, and their prompts differ by rounding only."""
    assert mine.id == other.id
    assert [row["step"] for row in curve(mine)] == [row["step"] for row in curve(other)]
    assert [row["exact_match"] for row in curve(mine)] == [row["exact_match"] for row in curve(other)]
    for name in ("stopped", "best_step", "steps", "epochs"):
        assert mine.result()[name] == other.result()[name]
    prompts = [SoftPrompt.load(run.path / "prompt.safetensors").matrix for run in (mine, other)]
    torch.testing.assert_close(*prompts, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("size", "holdout"), [(7, 0.0), (3, 0.25)])
def test_a_run_in_a_pack_is_what_it_would_have_been_alone(
    settings: Settings, tmp_path: Path, size: int, holdout: float
) -> None:
    settings = replace(settings, data=replace(settings.data, holdout=holdout))
    runs = train_runs(different_runs(settings), QUIET, size).finished_runs()
    for run in runs:
        (alone,) = train_pack([replace(run.settings, output_root=str(tmp_path / "alone"))], QUIET)
        assert_equal(run, alone)


def test_after_an_epoch_a_prompt_differs_by_less_than_a_millionth(settings: Settings, tmp_path: Path) -> None:
    settings = replace(
        settings,
        optim=replace(settings.optim, lr=0.001),
        trainer=replace(settings.trainer, max_epochs=1, min_delta=0.0),
    )
    runs = [replace(other, trainer=settings.trainer) for other in different_runs(settings)]
    for run in train_pack(runs, QUIET):
        (alone,) = train_pack([replace(run.settings, output_root=str(tmp_path / "alone"))], QUIET)
        ends = [checkpoint_state(of.path / "last.ckpt")["prompt"] for of in (run, alone)]
        torch.testing.assert_close(*ends, rtol=0, atol=1e-6)


def test_a_waiting_run_takes_the_place_of_one_that_stops(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = PromptTuning.training_step

    def step(self: PromptTuning, batches: list, index: int) -> None:
        sizes.append(sum(run.live for run in self.runs))
        original(self, batches, index)

    monkeypatch.setattr(PromptTuning, "training_step", step)
    lengths = [1, 3, 1, 2, 1]
    runs = [
        replace(settings, seed=seed, trainer=replace(settings.trainer, max_epochs=epochs, patience=9))
        for seed, epochs in enumerate(lengths)
    ]
    finished = train_runs(runs, QUIET, 2).finished_runs()
    assert [run.result()["epochs"] for run in finished] == lengths
    # Two steps per epoch: runs 0 and 1, then 1 and 2, then 1 and 3, then 3 and 4.
    assert sizes == [2] * 8


def test_runs_of_different_kinds_are_no_pack(settings: Settings) -> None:
    other = replace(settings, trainer=replace(settings.trainer, batch_size=4))
    assert kind(other) != kind(settings)
    with pytest.raises(ValueError, match="must have the same task, data, model and batch size"):
        train_pack([settings, other], QUIET)


def test_the_same_run_twice_is_trained_once(settings: Settings) -> None:
    first, second = train_pack([settings, settings], QUIET)
    assert first.id == second.id and first.done


def test_a_run_that_another_process_trains_is_left_to_it(settings: Settings) -> None:
    runs = [replace(settings, seed=seed) for seed in range(3)]
    train_pack(runs[:1], QUIET)
    events: list[tuple[int, str]] = []
    with RunLock(run_of(runs[1]).path, print):
        outcome = train_runs(runs, QUIET, 1, report=lambda run, state, _: events.append((run.seed, state)))
    assert [event for event in events if event[1] != "training"] == [(0, "done"), (1, "in use"), (2, "done")]
    with pytest.raises(UserError, match=r"seed1-.*: process \d+ on host .* has it since"):
        outcome.finished_runs()


def test_one_run_that_cannot_start_does_not_stop_the_others(settings: Settings) -> None:
    bad = replace(settings, seed=1, prompt=PromptSettings(init="vocab", length=5000))
    outcome = train_runs([bad, settings], QUIET, 2)
    assert [run.settings.seed for run in outcome.runs if run.done] == [0]
    with pytest.raises(UserError, match=r"prompt\.length=5000: the vocabulary has only"):
        outcome.finished_runs()


def test_settings_that_make_no_run_do_not_stop_the_others(settings: Settings) -> None:
    bad = [
        replace(settings, prompt=PromptSettings(init="file", path="/nowhere/prompt.safetensors")),
        replace(settings, optim=replace(settings.optim, arguments={"betas": [2, 3]})),
        replace(settings, optim=OptimSettings("lbfgs", "torch.optim.LBFGS", 1.0, {})),
    ]
    outcome = train_runs([*bad, settings], QUIET, 2)
    assert [run.done for run in outcome.runs].count(True) == 1
    with pytest.raises(UserError) as caught:
        outcome.finished_runs()
    assert "prompt.path=/nowhere/prompt.safetensors: cannot be read" in str(caught.value)
    assert "Invalid beta parameter" in str(caught.value)
    assert "optim._target_=torch.optim.LBFGS: cannot be used here" in str(caught.value)


def test_an_error_in_a_pack_fails_only_the_run_that_causes_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = PromptTuning.training_step

    def step(self: PromptTuning, batches: list, index: int) -> None:
        if any(member.run.settings.seed == 1 for member in self.members):
            raise IndexError("a bug in one run")
        original(self, batches, index)

    monkeypatch.setattr(PromptTuning, "training_step", step)
    runs = [replace(settings, seed=seed) for seed in range(4)]
    outcome = train_runs(runs, QUIET, 3)
    assert [run.done for run in outcome.runs] == [True, False, True, True]
    with pytest.raises(IndexError, match="a bug in one run"):
        outcome.finished_runs()


def test_a_dry_run_of_several_runs_ends_and_writes_nothing(settings: Settings) -> None:
    trainer = replace(settings.trainer, extra={"fast_dev_run": True}, eval_batch_size=6)
    runs = [replace(settings, seed=seed, trainer=trainer) for seed in range(2)]
    events: list[str] = []
    train_runs(runs, QUIET, 2, report=lambda run, state, _: events.append(state)).finished_runs()
    assert events.count("done") == 2 and not Path(settings.output_root).exists()


def test_a_time_limit_holds_for_each_run(settings: Settings) -> None:
    limits = replace(settings.trainer, max_epochs=3, extra={"max_time": "00:00:00:20"})
    runs = [replace(settings, seed=seed, trainer=limits) for seed in range(3)]
    assert all(run.done for run in train_runs(runs, QUIET, 1).finished_runs())
    no_time = replace(
        limits, max_epochs=2000, patience=2000, min_delta=0.0, extra={"max_time": "00:00:00:01"}
    )
    late = [replace(settings, seed=seed, trainer=no_time) for seed in range(3, 6)]
    outcome = train_runs(late, QUIET, 1)
    steps = [int(str(error).partition("not finished after ")[2].split()[0]) for error in outcome.failures]
    assert len(steps) == 3 and min(steps) > 0


def out_of_memory_above(places: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes a step of more runs than `places` fail as on a GPU that is full. Returns the sizes that were tried."""
    tried: list[int] = []
    original = PromptTuning.training_step

    def step(self: PromptTuning, batches: list, index: int) -> None:
        if len(self.runs) > places:
            tried.append(len(self.runs))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        original(self, batches, index)

    monkeypatch.setattr(PromptTuning, "training_step", step)
    return tried


def test_a_pack_that_does_not_fit_is_halved(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = out_of_memory_above(2, monkeypatch)
    runs = train_runs(different_runs(settings), QUIET, 7).finished_runs()
    assert tried == [7, 3]
    for run in runs[:2]:
        (alone,) = train_pack([replace(run.settings, output_root=str(tmp_path / "alone"))], QUIET)
        assert_equal(run, alone)


def test_a_run_that_does_not_fit_by_itself_fails_in_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory_above(0, monkeypatch)
    with pytest.raises(
        UserError, match=r"text-seed0-.*: out of memory \(CUDA out of memory.*lower trainer\.batch_size"
    ):
        train_pack([settings], QUIET)


def test_a_device_without_memory_for_the_model_fails_no_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(shared, "load_backbone", full)
    events: list[str] = []
    with pytest.raises(DeviceFull, match=r"out of memory \(CUDA out of memory\.\); use a device with more"):
        train_runs([settings], QUIET, 1, report=lambda run, state, _: events.append(state))
    assert events == ["training"]  # claimed, and then left to another process


@pytest.mark.parametrize("begun_first", [False, True])
def test_a_run_begun_in_another_dtype_gets_another_pack(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, begun_first: bool
) -> None:
    settings = replace(settings, model=replace(settings.model, dtype="auto"))
    begun, new = replace(settings, seed=0), replace(settings, seed=1)
    # A run that was begun where `auto` means bfloat16, and goes on where it means float32.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "choose_dtype", lambda *_: torch.bfloat16)
        patch.setattr(Run, "finish", lambda *_: None)
        with pytest.raises(UserError, match="cannot be read"):
            train_pack([begun], QUIET)
    dtypes: list[torch.dtype] = []

    def load(model: ModelSettings, dtype: torch.dtype) -> Backbone:
        dtypes.append(dtype)
        return load_backbone(model, dtype)

    monkeypatch.setattr(shared, "load_backbone", load)
    monkeypatch.setattr(waiting, "choose_dtype", lambda *_: torch.float32)
    runs = [begun, new] if begun_first else [new, begun]
    results = [run.result() for run in train_runs(runs, QUIET, 2).finished_runs()]
    expected = ["bfloat16", "float32"] if begun_first else ["float32", "bfloat16"]
    assert [result["backbone"]["dtype"] for result in results] == expected
    assert [str(dtype) for dtype in dtypes] == [f"torch.{name}" for name in expected]


@pytest.mark.parametrize(
    ("one", "two", "free", "places"),
    [
        (3, 5, 100, 1 + (80 - 3) // 2),
        (3, 5, 10**9, LARGEST_PACK),
        (90, 180, 100, 1),  # one run hardly fits: try it
        (5, 5, 100, LARGEST_PACK),
    ],
)
def test_as_many_runs_as_fit(one: int, two: int, free: int, places: int) -> None:
    assert size_that_fits(one, two, free) == places
