import pytest
from hydra.errors import ConfigCompositionException

from softprompt.nearest_keys import with_nearest_keys


@pytest.mark.parametrize(
    ("key", "command", "advice"),
    [
        ("lr", "train", "did you mean model.lr or optim.lr?"),
        ("epochs", "train", "did you mean trainer.max_epochs?"),
        ("trainer.epochs", "train", "did you mean trainer.max_epochs?"),
        ("trainer.max_epoch", "train", "did you mean trainer.max_epochs or trainer.max_steps?"),
        ("modle", "train", "did you mean model?"),
        ("optim.learning_rate", "train", "did you mean model.lr or optim.lr? (+optim.learning_rate=..."),
        ("neighbors", "analyze", "did you mean neighbours?"),
        ("zzz", "train", "conf/train.yaml and conf/ list all keys"),
    ],
)
def test_a_mistyped_key_is_named_with_keys_like_it(key: str, command: str, advice: str) -> None:
    error = ConfigCompositionException(f"Could not override '{key}'.\nTo append to your config use +{key}=1")
    assert str(with_nearest_keys(error, command)).startswith(f"there is no key '{key}'; {advice}")


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("task.answers", "task=record has"),
        ("method.hidden", "method=prefix and method=residual have"),
        ("method.candidates", "method=autoprompt has"),
        ("prompt.run", "prompt=run has"),
    ],
)
def test_a_key_of_another_file_is_named_with_the_file(key: str, file: str) -> None:
    error = ConfigCompositionException(f"Could not override '{key}'.\nTo append to your config use +{key}=1")
    assert str(with_nearest_keys(error, "train")).startswith(
        f"there is no key '{key}' in the chosen file of its group; {file} it"
    )


def test_other_errors_stay_as_they_are() -> None:
    error = ValueError("something else")
    assert with_nearest_keys(error, "train") is error
