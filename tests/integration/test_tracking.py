"""What loggers record of a run, read back from their files."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

from softprompt.errors import UserError
from softprompt.parsing import parse_analysis_settings
from softprompt.runs import Run
from softprompt.settings import LoggerSettings, Settings
from softprompt.training.train import train_pack
from softprompt.wandb_panels import CURVES, TABLE, make_workspace
from tests.conftest import ROOT
from tests.wandb_file import Recorded, read_wandb_file

STEPS = 3
STEP_VALUES = {"train/loss", "train/lr", "train/gradient_norm", "prompt/distance_from_start"}
SCORES = ("loss", "exact_match", "rank_accuracy", "macro_f1", "invalid_prediction_rate")


def logger_settings(name: str, **changes: object) -> LoggerSettings:
    content = yaml.safe_load((ROOT / f"conf/logger/{name}.yaml").read_text())
    return LoggerSettings(**{**content, **changes})


def trained(settings: Settings, logger: LoggerSettings, seeds: tuple[int, ...] = (0,)) -> list[Run]:
    limits = replace(settings.trainer, max_steps=STEPS)
    own = [replace(settings, logger=logger, trainer=limits, seed=seed) for seed in seeds]
    return train_pack(own, Console(quiet=True))


def recorded(run: Run) -> Recorded:
    (path,) = run.path.glob("wandb/offline-run-*/*.wandb")
    return read_wandb_file(path)


def evaluations(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader((run.path / "metrics.csv").open()))


def test_wandb_has_every_step_and_evaluation_of_every_run_of_a_pack(settings: Settings) -> None:
    runs = trained(settings, logger_settings("wandb", every=1, tags=["mine"]), seeds=(0, 1))
    for run in runs:
        found, result = recorded(run), run.result()
        assert found.exit_code == 0
        assert (found.group, found.tags) == (settings.sweep, [settings.task.name, "text", "mine"])
        assert found.config["rows"] == result["rows"] == len(run.best_prompt().matrix)
        assert found.config["hashes"] == result["hashes"] and found.config["lr"] == result["lr"]
        assert found.config["backbone_hash"] == run.best_prompt().backbone_hash
        assert [step for step in found.steps if set(found.steps[step]) >= STEP_VALUES] == [1, 2, 3]
        for row in evaluations(run):
            values = found.steps[int(row["step"])]
            assert {name: values[f"val/{name}"] for name in SCORES} == pytest.approx(
                {name: float(row[name]) for name in SCORES}
            )
            assert values["baseline/majority/exact_match"] == result["baselines"]["majority"]
            assert (
                values["baseline/no_prompt/rank_accuracy"]
                == result["baselines"]["no_prompt"]["rank_accuracy"]
            )
            assert values[f"{TABLE}/nrows"] == result["rows"]
        assert found.summary["tuned"] == result["tuned"]
        assert sorted(found.artifacts["prompt"]) == sorted(
            ["config.yaml", "initial.safetensors", "metrics.csv", "prompt.safetensors", "result.json"]
        )
    assert runs[0].path != runs[1].path


def test_the_values_of_a_step_are_those_of_the_training(settings: Settings) -> None:
    """Plain SGD moves the prompt by the learning rate times the gradient, whose norm is logged before clipping."""
    optim = replace(settings.optim, name="sgd", target="torch.optim.SGD", lr=0.1, arguments={})
    limits = replace(settings.trainer, max_steps=1, gradient_clip_val=0.001)
    own = replace(settings, optim=optim, trainer=limits, logger=logger_settings("wandb", every=1))
    (run,) = train_pack([own], Console(quiet=True))
    (free,) = train_pack([replace(own, trainer=replace(limits, gradient_clip_val=None))], Console(quiet=True))
    clipped, unclipped = recorded(run).steps[1], recorded(free).steps[1]
    assert clipped["train/lr"] == 0.1
    assert clipped["train/gradient_norm"] == pytest.approx(unclipped["train/gradient_norm"]) != 0.001
    assert clipped["prompt/distance_from_start"] == pytest.approx(0.1 * 0.001, rel=1e-3)
    assert unclipped["prompt/distance_from_start"] == pytest.approx(
        0.1 * unclipped["train/gradient_norm"], rel=1e-3
    )
    mean = evaluations(free)[-1]["train_loss"]
    assert unclipped["train/loss"] == pytest.approx(float(mean)) == unclipped["train/mean_loss"]


def test_wandb_marks_a_run_that_failed(settings: Settings) -> None:
    optim = replace(settings.optim, lr=100.0, name="sgd", target="torch.optim.SGD", arguments={})
    limits = replace(settings.trainer, max_epochs=50)
    own = replace(settings, optim=optim, trainer=limits, logger=logger_settings("wandb"))
    huge = {"maximize": True, "momentum": 1e30}
    own = replace(own, optim=replace(optim, arguments=huge))
    with pytest.raises(UserError, match="the run failed"):
        train_pack([own], Console(quiet=True))
    (path,) = Path(settings.output_root).glob("*/*/*/wandb/offline-run-*/*.wandb")
    assert read_wandb_file(path).exit_code == 1


def test_tensorboard_has_the_same_values(settings: Settings) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (run,) = trained(settings, logger_settings("tensorboard", every=1))
    events = accumulator.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= STEP_VALUES | {f"val/{name}" for name in SCORES}
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]
    in_csv = {int(row["step"]): float(row["loss"]) for row in evaluations(run)}
    assert {event.step: event.value for event in events.Scalars("val/loss")} == pytest.approx(in_csv)
    (tuned,) = events.Scalars("tuned/exact_match")
    assert tuned.value == pytest.approx(run.result()["tuned"]["exact_match"])


def test_steps_csv_has_every_step(settings: Settings) -> None:
    (run,) = trained(settings, logger_settings("steps_csv"))
    rows = list(csv.DictReader((run.path / "steps/version_0/metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row["train/loss"]] == [1, 2, 3]
    start, last = (load_file(run.path / f"{name}.safetensors")["prompt"] for name in ("initial", "prompt"))
    distances = {
        int(row["step"]): float(row["prompt/distance_from_start"]) for row in rows if row["train/loss"]
    }
    assert run.result()["best_step"] in distances
    assert distances[run.result()["best_step"]] == pytest.approx(float(torch.dist(start, last)), rel=1e-5)


def test_mlflow_has_the_same_values(settings: Settings, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    place = f"sqlite:///{tmp_path}/mlflow.db"
    lightning = {**(logger_settings("mlflow").lightning or {}), "tracking_uri": place}
    (run,) = trained(settings, logger_settings("mlflow", every=1, lightning=lightning))
    client = mlflow.MlflowClient(place)
    experiment = client.get_experiment_by_name(settings.sweep)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == run.label and found.info.status == "FINISHED"
    assert [metric.step for metric in client.get_metric_history(found.info.run_id, "train/loss")] == [1, 2, 3]
    assert found.data.metrics["tuned/loss"] == pytest.approx(run.result()["tuned"]["loss"])


@pytest.mark.parametrize(
    ("lightning", "message"),
    [
        ({"_target_": "softprompt.Nothing"}, r"^logger\.lightning\._target_=softprompt\.Nothing: should be"),
        (
            {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "{folder}"},
            r"^logger\.lightning\.save_dir='\{folder\}': may have the places \{path\}, \{run\}, ",
        ),
        (
            {"_target_": "lightning.pytorch.loggers.CSVLogger", "folder": "x"},
            r"^logger\.lightning: lightning\.pytorch\.loggers\.CSVLogger cannot be started: ",
        ),
    ],
)
def test_a_logger_that_cannot_be_made_is_refused(settings, lightning, message) -> None:
    with pytest.raises(UserError, match=message):
        trained(settings, LoggerSettings(name="mine", lightning=lightning))


def test_a_logger_without_a_class_and_a_report_without_wandb_are_refused() -> None:
    with pytest.raises(ValueError, match=r"logger\.name=mine: needs logger\.lightning\._target_"):
        LoggerSettings(name="mine")
    content = yaml.safe_load((ROOT / "conf/analyze.yaml").read_text())
    del content["defaults"], content["hydra"]
    logger = yaml.safe_load((ROOT / "conf/logger/tensorboard.yaml").read_text())
    with pytest.raises(UserError, match=r"^logger=tensorboard: a report goes to wandb, or nowhere \(csv\)$"):
        parse_analysis_settings({**content, "sweep": "x", "logger": logger})


def test_the_panels_show_what_is_logged(settings: Settings) -> None:
    pytest.importorskip("wandb_workspaces")
    (run,) = trained(settings, logger_settings("wandb", every=1))
    logged = {name for values in recorded(run).steps.values() for name in values}
    shown = {name for plots in CURVES.values() for names in plots.values() for name in names}
    assert shown <= logged and f"{TABLE}/path" in logged
    workspace = make_workspace("me", "softprompt")
    drawn = {name for section in workspace.sections[:2] for panel in section.panels for name in panel.y}
    assert drawn == shown
