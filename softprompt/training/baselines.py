"""Scores without tuning, on the official validation set, which the runs of a task share."""

import math
from pathlib import Path
from typing import Any

from softprompt.backbone import Backbone
from softprompt.errors import UserError
from softprompt.files import Damaged, check_json, read_json, remove_leftovers, sealed_json, write_atomically
from softprompt.scoring import Scores


def stored_baselines(path: Path, digest: str) -> dict[str, Any] | None:
    """What `store_baselines` wrote under this digest; None if it is not there, or damaged."""
    try:
        stored = read_json(path)
        check_json(stored)
        return dict(stored["scores"]) if stored["digest"] == digest else None
    except (UserError, Damaged):
        return None


def store_baselines(path: Path, digest: str, baselines: dict[str, Any]) -> None:
    """Write the baselines. `digest` stands for all that they depend on."""
    remove_leftovers(path.parent)
    write_atomically(path, sealed_json({"digest": digest, "scores": baselines}))


def check_finite(no_prompt: Scores, backbone: Backbone) -> None:
    """Check the scores of the model without a prompt.

    Raises:
        UserError: the loss is not finite. Names the weight that is not finite, if there is one.
    """
    if not math.isfinite(no_prompt.loss):
        weight = backbone.non_finite_weight()
        cause = f"its weight {weight} has values that are not finite" if weight else "its weights are finite"
        raise UserError(
            f"model.id={backbone.id}: the loss without a prompt is {no_prompt.loss} ({cause}); check the model's files, or "
            "use model.dtype=float32"
        )
