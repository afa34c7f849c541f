"""Names that changed since version 0.1: files with the old names are read under the new ones."""

import re
from collections.abc import Mapping
from typing import Any

# Versions whose result.json has no checksums.
WITHOUT_CHECKSUMS = ("0.1.0", "0.2.0")

SCORES = {"outside": "invalid_prediction_rate"}  # in result.json, baselines-*.json and metrics.csv
TRAINER = {"gradient_clip": "gradient_clip_val"}
# Version 0.1 knew optimisers by name alone.
OPTIMIZERS = {
    "adam": "torch.optim.Adam",
    "adamw": "torch.optim.AdamW",
    "adafactor": "torch.optim.Adafactor",
    "sgd": "torch.optim.SGD",
}


def is_without_checksums(result: Mapping[str, Any]) -> bool:
    """True if a result was written by a version that stored no checksums. A damaged newer result is not one."""
    return "checksum" not in result and result["versions"]["softprompt"] in WITHOUT_CHECKSUMS


def current_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """A set of scores, or a row of metrics.csv, under the current names."""
    return {SCORES.get(name, name): value for name, value in scores.items()}


def current_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a result.json under the current names."""
    hashes = result["hashes"]
    if is_without_checksums(result):
        # Data from the hub was known by `<id>/<config>` and its revision, which cannot be compared with its content.
        hashes = {name: value for name, value in hashes.items() if re.fullmatch("[0-9a-f]{64}", value)}
    return {
        **result,
        "hashes": hashes,
        "tuned": current_scores(result["tuned"]),
        "baselines": current_baselines(result["baselines"]),
    }


def current_baselines(baselines: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a baselines file under the current names."""
    return {
        name: current_scores(value) if isinstance(value, Mapping) else value
        for name, value in baselines.items()
    }


def current_config(config: Any) -> Any:
    """The content of a config.yaml with the current keys; keys that were added have their defaults."""
    if not isinstance(config, Mapping):
        return config
    trainer, optim, model = config.get("trainer"), config.get("optim"), config.get("model")
    renewed: dict[str, Any] = {"objective": "loss", **config}
    if isinstance(model, Mapping):
        renewed["model"] = {"bos": False, **model}
    if isinstance(trainer, Mapping):
        renewed["trainer"] = {
            **{TRAINER.get(key, key): value for key, value in trainer.items()},
            "extra": trainer.get("extra"),
            "min_delta": trainer.get("min_delta", 0.0),
            "early_evaluations": trainer.get("early_evaluations", False),
        }
    if isinstance(optim, Mapping) and "_target_" not in optim and optim.get("name") in OPTIMIZERS:
        renewed["optim"] = {**optim, "_target_": OPTIMIZERS[optim["name"]]}
    return renewed
