"""What a notebook does with a trained run, and what Lightning's own tools see of a training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

import softprompt
from softprompt.errors import UserError
from softprompt.runs import find_runs
from softprompt.training.train import train_pack
from tests.conftest import cb_records, reseal


@pytest.fixture
def run(settings):
    (run,) = train_pack([settings], Console(quiet=True))
    return run


def test_a_loaded_run_scores_and_predicts_as_it_was_trained(run, data_folder: Path) -> None:
    trained = softprompt.load(run.path)
    records = [json.loads(line) for line in (data_folder / "CB" / "val.jsonl").read_text().splitlines()]
    scores, expected = trained.score(records), run.result()["tuned"]
    assert scores.exact_match == expected["exact_match"] and scores.rank_accuracy == expected["rank_accuracy"]
    assert scores.loss == pytest.approx(expected["loss"], rel=1e-4)
    predictions = trained.predict({k: v for k, v in record.items() if k != "label"} for record in records)
    verbalized = {label: answer for answer, labels in trained.task.verbalizers.items() for label in labels}
    right = [p == verbalized[record["label"]] for p, record in zip(predictions, records, strict=True)]
    assert sum(right) / len(right) == pytest.approx(scores.rank_accuracy, abs=1e-6)
    assert trained.predict([]) == [] and trained.prompt.task == "cb"


def test_a_run_is_loaded_in_the_dtype_and_with_the_model_of_its_training(run) -> None:
    result = run.result()
    # On the machine that trained it, "auto" meant this.
    reseal(run.path, backbone={**result["backbone"], "dtype": "bfloat16"})
    assert softprompt.load(run.path).backbone.dtype == torch.bfloat16
    reseal(run.path, hashes={**result["hashes"], "model/config.json": "0"})
    with pytest.raises(UserError, match=r"model/config\.json has changed since this run was trained"):
        softprompt.load(run.path)


def test_a_record_that_lacks_a_field_is_named(run) -> None:
    with pytest.raises(UserError, match=r"^record 1: no field 'hypothesis'"):
        softprompt.load(run.path).predict([cb_records(1)[0], {"premise": "a dog runs"}])


def test_a_folder_that_holds_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"result\.json: cannot be read"):
        softprompt.load(tmp_path)


def test_a_fast_dev_run_writes_nothing(settings, tmp_path: Path) -> None:
    limits = replace(settings.trainer, extra={"fast_dev_run": True})
    (run,) = train_pack([replace(settings, trainer=limits)], Console(quiet=True))
    assert not run.done and not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {"precision": "16-mixed"},
            r"^trainer\.extra\.precision='16-mixed': cannot be set here: set model\.dtype",
        ),
        (
            {"logger": True},
            r"^trainer\.extra\.logger=True: cannot be set here: set logger, which every run has",
        ),
        ({"epochs": 3}, r"^trainer\.extra\.epochs=3: lightning\.Trainer has no such argument"),
        ({"profiler": "none"}, r"^trainer: "),
    ],
)
def test_an_extra_argument_that_cannot_be_passed_on_is_named(settings, extra, message) -> None:
    with pytest.raises(UserError, match=message):
        train_pack([replace(settings, trainer=replace(settings.trainer, extra=extra))], Console(quiet=True))


def test_files_of_version_0_1_are_read_under_the_new_names(run, tmp_path: Path) -> None:
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    del config["objective"], config["trainer"]["extra"], config["optim"]["_target_"]
    config["trainer"]["gradient_clip"] = config["trainer"].pop("gradient_clip_val")
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    result = run.path / "result.json"
    content = json.loads(result.read_text().replace("invalid_prediction_rate", "outside"))
    del content["selection"], content["files"], content["checksum"]
    content["versions"]["softprompt"] = "0.1.0"
    content["hashes"]["aps/super_glue/cb"] = "main"  # as for data from the hub
    result.write_text(json.dumps(content))
    (old,) = find_runs(tmp_path / "outputs")
    assert old.settings == run.settings
    assert all(len(value) == 64 for value in old.result()["hashes"].values())
    assert "invalid_prediction_rate" in old.result()["tuned"] and '"outside"' not in json.dumps(old.result())
