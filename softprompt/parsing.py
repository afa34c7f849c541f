"""From a composed config to typed settings, and back. All values are checked here, before anything is loaded."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from softprompt.errors import UserError
from softprompt.settings import AnalysisSettings, MicroworldData, PredictSettings, Settings, TaskSettings

T = TypeVar("T")


def parse_settings(config: object) -> Settings:
    """A composed training config as `Settings`.

    Raises:
        UserError: a key is unknown or missing, or its value is not allowed. Names key, value and rule.
    """
    return _parse(Settings, _with_optimizer_arguments(config))


def parse_analysis_settings(config: object) -> AnalysisSettings:
    """A composed `conf/analyze.yaml` as `AnalysisSettings`. Raises like `parse_settings`."""
    return _parse(AnalysisSettings, config)


def parse_predict_settings(config: object) -> PredictSettings:
    """A composed `conf/predict.yaml` as `PredictSettings`. Raises like `parse_settings`."""
    return _parse(PredictSettings, config)


def parse_task_settings(config: object) -> TaskSettings:
    """A file of `conf/task` as `TaskSettings`. Raises like `parse_settings`."""
    return _parse(TaskSettings, config)


def parse_microworld_data(config: object) -> MicroworldData:
    """`conf/data/microworld.yaml` as `MicroworldData`. Raises like `parse_settings`."""
    return _parse(MicroworldData, config)


def config_of(settings: Settings) -> dict[str, Any]:
    """The plain config that `parse_settings` makes these settings from."""
    config = asdict(settings)
    optim = config["optim"]
    arguments = optim.pop("arguments")
    config["optim"] = {"name": optim["name"], "_target_": optim["target"], "lr": optim["lr"], **arguments}
    return config


def _with_optimizer_arguments(config: object) -> object:
    """The config with the keys of `optim` that are the optimiser's own gathered under `arguments`."""
    if not isinstance(config, Mapping) or not isinstance(config.get("optim"), Mapping):
        return config
    optim = {"target" if key == "_target_" else key: value for key, value in config["optim"].items()}
    common = {key: optim.pop(key) for key in ("name", "target", "lr") if key in optim}
    return {**config, "optim": {**common, "arguments": optim}}


def _parse(kind: type[T], config: object) -> T:
    _check_keys(config)
    try:
        # As JSON, because pydantic's strict mode takes a JSON object for a dataclass, and still no "3" for 3.
        return TypeAdapter(kind).validate_json(json.dumps(config))
    except ValidationError as errors:
        error = errors.errors()[0]
    key, value = _find(config, error["loc"])
    key = key.replace("optim.target", "optim._target_")
    if error["type"] == "union_tag_invalid":
        context = error["ctx"]
        key, value = f"{key}.{context['discriminator']}".replace("'", ""), context["tag"]
        raise UserError(f"{key}={value!r}: should be one of {context['expected_tags']}")
    if error["type"] == "missing":
        raise UserError(f"{key} is missing: set it")
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        raise UserError(f"{key}={value!r}: there is no such key")
    rule = error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if error["type"] == "string_type" and isinstance(value, int | float):
        rule += f": put it in quotes, '{key}=\"{value}\"'"
    if isinstance(value, Mapping):  # a rule about several keys names them itself
        raise UserError(rule if not key or rule.startswith(f"{key}.") else f"{key}: {rule}")
    raise UserError(f"{key}={value!r}: {rule}")


def _check_keys(config: object, parents: str = "") -> None:
    """Raise a `UserError` for a mandatory value that is not set (`???` in YAML), or a key that is not text.

    YAML reads an unquoted `yes` or `no` as a truth value, even where it is an answer.
    """
    if isinstance(config, Mapping):
        for key, value in config.items():
            if not isinstance(key, str):
                raise UserError(f"{parents}{key}: the key is {key!r}, and should be text: put it in quotes")
            if value == "???":
                raise UserError(f"{parents}{key} is missing: set it")
            _check_keys(value, f"{parents}{key}.")


def _find(config: object, loc: tuple[int | str, ...]) -> tuple[str, object]:
    """The dotted key that a validation error is about, and its value.

    pydantic puts the tag of a union (`jsonl`) and the type it tried into the path; they are no keys.
    """
    keys: list[str] = []
    for part in loc:
        if isinstance(config, Mapping) and (part in config or part == loc[-1]):
            config = config.get(part)
            keys.append(str(part))
        elif isinstance(config, list) and isinstance(part, int):
            config = config[part]
            keys.append(str(part))
    return ".".join(keys), config
