"""Which runs can be trained as one pack."""

from softprompt.files import json_sha256
from softprompt.parsing import config_of
from softprompt.settings import Settings

# Settings in which the runs of a pack may differ, and those of them that are in the group `trainer`.
OWN = ("seed", "prompt", "optim", "logger", "objective", "sweep", "output_root")
OWN_LIMITS = ("max_epochs", "max_steps", "patience", "min_delta", "early_evaluations", "gradient_clip_val")


def kind(settings: Settings) -> str:
    """A hash of what runs must have in common to be trained as one pack."""
    config = {name: value for name, value in config_of(settings).items() if name not in OWN}
    config["trainer"] = {name: v for name, v in config["trainer"].items() if name not in OWN_LIMITS}
    return json_sha256(config)
