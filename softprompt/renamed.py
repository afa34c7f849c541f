"""Names that changed since version 0.1: files with the old names are read under the new ones."""

from collections.abc import Mapping
from typing import Any

SCORES = {"outside": "invalid_prediction_rate"}  # in result.json, baselines-*.json and metrics.csv
TRAINER = {"gradient_clip": "gradient_clip_val"}
# Version 0.1 knew optimisers by name alone.
OPTIMIZERS = {
    "adam": "torch.optim.Adam",
    "adamw": "torch.optim.AdamW",
    "adafactor": "torch.optim.Adafactor",
    "sgd": "torch.optim.SGD",
}


def current_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """A set of scores, or a row of metrics.csv, under the current names."""
    return {SCORES.get(name, name): value for name, value in scores.items()}


def current_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a result.json under the current names."""
    return {
        **result,
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
    trainer, optim = config.get("trainer"), config.get("optim")
    renewed: dict[str, Any] = {"objective": "loss", **config}
    if isinstance(trainer, Mapping):
        renewed["trainer"] = {
            **{TRAINER.get(key, key): value for key, value in trainer.items()},
            "extra": trainer.get("extra"),
        }
    if isinstance(optim, Mapping) and "_target_" not in optim and optim.get("name") in OPTIMIZERS:
        renewed["optim"] = {**optim, "_target_": OPTIMIZERS[optim["name"]]}
    return renewed
