"""Every shipped config composes into settings, and every experiment trains."""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from rich.console import Console

from softprompt.training.train import train_pack
from tests.conftest import ROOT, composed

CONF = ROOT / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
TASKS = ["cb", "copa", "rte", "wsc"]  # of the reference study
MICROWORLD_TASKS = sorted(f"microworld/{path.stem}" for path in (CONF / "task/microworld").glob("*.yaml"))
OPTIONS = [
    f"{folder.name}={path.stem}"
    for folder in sorted(CONF.iterdir())
    if folder.is_dir() and folder.name != "experiment"
    for path in sorted(folder.glob("*.yaml"))
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_into_settings(option: str) -> None:
    missing = {
        "data=superglue_jsonl": ["data.root=x"],
        "prompt=file": ["prompt.path=x"],
        "prompt=run": ["prompt.run=x"],
        "prompt=mean": ["prompt.runs=[x]", "prompt.like=x"],
        "model=any": ["model.id=x"],
        "data=files": ["data.train=x.csv", "data.validation=y.csv"],
    }
    composed(option, *missing.get(option, []))


@pytest.mark.parametrize("task", MICROWORLD_TASKS)
def test_every_task_of_the_microworld_takes_two_steps(task: str, tmp_path: Path) -> None:
    settings = composed(f"task={task}", "trainer=cpu", "trainer.max_steps=2", f"output_root={tmp_path}")
    (run,) = train_pack([settings], Console(quiet=True))
    assert run.result()["steps"] == 2 and run.result()["task"] == task.split("/")[1]


def test_the_microworld_experiment_has_every_task() -> None:
    sweep = yaml.safe_load((CONF / "experiment/microworld.yaml").read_text())["hydra"]["sweeper"]["params"]
    assert sorted(sweep["task"].split(",")) == sorted([*TASKS, *MICROWORLD_TASKS])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_takes_two_steps(
    experiment: str, task: str, tmp_path: Path, model_folder: Path, data_folder: Path
) -> None:
    settings = composed(
        f"experiment={experiment}", f"task={task}", "data=superglue_jsonl", f"data.root={data_folder}",
        "model=bloomz_560m", f"model.id={model_folder}", "model.revision=null", "trainer=cpu", "trainer.max_steps=2",
        f"output_root={tmp_path}",
    )  # fmt: skip
    (run,) = train_pack([settings], Console(quiet=True))
    assert run.result()["steps"] == 2 and run.done


def test_the_reference_study_is_sixteen_runs() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=["experiment=paper"], return_hydra_config=True)
    parameters = config.hydra.sweeper.params
    assert parameters.task.split(",") == ["cb", "rte", "copa", "wsc"]
    assert parameters.seed.split(",") == ["0", "1", "2", "3"]
    settings = composed("experiment=paper")
    assert (settings.trainer.max_epochs, settings.trainer.patience, settings.optim.name) == (50, 5, "adam")
    assert settings.model.id == "bigscience/bloomz-560m" and settings.prompt.init == "text"


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_key_is_explained(path: Path) -> None:
    """A key has a comment beside it, or in the block of keys it stands in; or the file says who explains it."""
    text = path.read_text()
    if "explained in" in text or path.parent.name == "experiment":
        return
    for block in text.split("\n\n"):
        keys = [line for line in block.splitlines() if line[:1].isalpha()]
        if keys and keys[0] not in ("defaults:", "hydra:"):
            assert "#" in block, f"{path}: {keys}"
