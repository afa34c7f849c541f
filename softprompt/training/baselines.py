"""Scores without tuning, on the official validation set, which the runs of a task share."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from softprompt.backbone import Backbone
from softprompt.errors import UserError
from softprompt.files import (
    Damaged,
    check_json,
    json_sha256,
    read_json,
    remove_leftovers,
    sealed_json,
    write_atomically,
)
from softprompt.runs import task_identity
from softprompt.scoring import Scores
from softprompt.training.evaluation import majority_share
from softprompt.training.scorer import Scorer
from softprompt.training.shared import Shared
from softprompt.training.trainer import is_distributed, is_dry


def find_baselines(shared: Shared, scorer: Scorer, folder: Path) -> dict[str, Any]:
    """The baselines of a pack: from a file in this folder, which the runs of a sweep share, or computed and stored there.

    Raises:
        UserError: the loss without a prompt is not finite.
    """
    settings = shared.settings
    # What model.bos comes to is in the fingerprint.
    model = {key: value for key, value in asdict(settings.model).items() if key != "bos"}
    content = [model, shared.dtype, task_identity(settings.task), shared.fingerprint]
    if settings.data.truncate:
        content.append(asdict(settings.data.truncate))
    digest = json_sha256(content)[:8]
    path = folder / f"baselines-{digest}.json"
    # Several processes compute them together, because one may find a file that the others did not find yet.
    stored = None if is_distributed(settings.trainer) else _stored(path, digest)
    if stored is not None:
        return stored
    backbone, validation = shared.backbone, shared.data.validation
    prompts = [torch.empty(0, backbone.width), shared.instruction]
    no_prompt, instruction = scorer.scores("no prompt and the instruction", backbone, prompts, validation)
    _check_finite(no_prompt, backbone)
    baselines = {
        "majority": majority_share(validation),
        "no_prompt": no_prompt.row,
        "instruction": instruction.row,
    }
    if not is_dry(settings.trainer):
        rank_zero_only(_store)(path, digest, baselines)
    return baselines


def _stored(path: Path, digest: str) -> dict[str, Any] | None:
    """What `_store` wrote under this digest; None if it is not there, or damaged."""
    try:
        stored = read_json(path)
        check_json(stored)
        return dict(stored["scores"]) if stored["digest"] == digest else None
    except (UserError, Damaged):
        return None


def _store(path: Path, digest: str, baselines: dict[str, Any]) -> None:
    """Write the baselines. `digest` stands for all that they depend on."""
    remove_leftovers(path.parent)
    write_atomically(path, sealed_json({"digest": digest, "scores": baselines}))


def _check_finite(no_prompt: Scores, backbone: Backbone) -> None:
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
