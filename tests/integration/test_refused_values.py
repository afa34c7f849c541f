"""Values of the config and of the environment that are not allowed."""

from dataclasses import replace

import pytest

from softprompt.errors import UserError
from softprompt.parsing import parse_settings
from softprompt.settings import LoggerSettings, Settings
from tests.integration.refusal import refused


@pytest.mark.parametrize(
    ("group", "key", "value", "message"),
    [
        ("task", "template", "x {premise:>1000000000}", "without ':' or '!'"),
        ("task", "template", "x {premise:{hypothesis}}", "without ':' or '!'"),
        ("task", "template", "x {premise!r}", "without ':' or '!'"),
        ("task", "verbalizers", {"a": ["x"]}, "task.verbalizers: should have at least two answers"),
        ("task", "name", 7, "put it in quotes, 'task.name=\"7\"'"),
        ("trainer", "min_delta", -1.0, "trainer.min_delta=-1.0: should be greater than or equal to 0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_key(
    config: dict[str, dict[str, object]], group: str, key: str, value: object, message: str
) -> None:
    config[group][key] = value
    with pytest.raises(UserError) as caught:
        parse_settings(config)
    assert str(caught.value).startswith(f"{group}.{key}") and message in str(caught.value)


def test_an_unquoted_number_as_a_name_is_explained(config: dict[str, object]) -> None:
    config["sweep"] = 2024
    with pytest.raises(
        UserError, match=r"""^sweep=2024: should be a valid string: put it in quotes, 'sweep="2024"'$"""
    ):
        parse_settings(config)


def test_an_unknown_mode_of_wandb_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "foo")
    logger = LoggerSettings(name="wandb", project="softprompt")
    assert refused(replace(settings, logger=logger)).startswith(
        "WANDB_MODE='foo': should be one of online, offline"
    )
