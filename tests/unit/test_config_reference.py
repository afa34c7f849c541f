"""The config reference is up to date, and every key of conf/ is explained."""

from pathlib import Path

import pytest

from docs.config_reference import CONF, PAGE, explanation, read, render

FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))


def test_the_page_is_what_the_script_writes() -> None:
    assert PAGE.read_text() == render(), "run `make docs` and commit docs/config.md"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_key_is_explained(path: Path) -> None:
    file = read(path)
    assert file.about, "the first line should be a comment that says what the file is"
    assert [key.name for key in file.keys if not explanation(path, key)] == []


def explained(path: str) -> dict[str, str]:
    return {key.name: explanation(Path(path), key) for key in read(Path(path)).keys}


def test_a_comment_is_that_of_all_keys_of_its_paragraph() -> None:
    folder, hub_config = (explained("task/cb.yaml")[name] for name in ("folder", "hub_config"))
    assert folder == hub_config and folder.startswith("The folder of its files")
    assert explained("task/cb.yaml")["name"] == "The name of the task in folders and tables."


def test_a_comment_beside_a_key_is_its_own_only() -> None:
    of_demo = explained("experiment/demo.yaml")
    assert of_demo["trainer.min_delta"] == "any lower loss counts"
    assert of_demo["trainer.batch_size"] == explained("trainer/auto.yaml")["batch_size"]


def test_a_reference_to_another_file_is_followed() -> None:
    adam, sgd, adamw = (explained(f"optim/{name}.yaml") for name in ("adam", "sgd", "adamw"))
    assert sgd["_target_"] == adam["_target_"] and adamw["betas"] == adam["betas"]
    assert sgd["lr"] == "Learning rate. (0, 100]" != adam["lr"]
    of_model = explained("model/microworld.yaml")["dtype"]
    assert of_model.startswith("dtype of the frozen weights") and of_model.endswith("in bfloat16.")
    assert explained("task/microworld/look.yaml")["label"] == explained("task/cb.yaml")["label"]
