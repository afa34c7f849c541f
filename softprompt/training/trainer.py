"""The Lightning Trainer of a pack: what softprompt sets itself, what a user may add, and which messages are silenced."""

import inspect
import logging
import os
import warnings
from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from softprompt.errors import UserError, first_line
from softprompt.settings import TrainerSettings

# Trainer arguments that `trainer.extra` may not set, with the key to use instead.
RESERVED = {
    **{
        name: f"set trainer.{name}"
        for name in (
            "accelerator",
            "devices",
            "strategy",
            "deterministic",
            "max_epochs",
            "max_steps",
            "gradient_clip_val",
        )
    },
    "precision": "set model.dtype",
    "logger": "set logger, which every run has its own of",
    "log_every_n_steps": "set logger.every",
    **dict.fromkeys(
        (
            "callbacks",
            "gradient_clip_algorithm",
            "accumulate_grad_batches",
            "limit_train_batches",
            "limit_val_batches",
            "limit_predict_batches",
            "overfit_batches",
            "val_check_interval",
            "check_val_every_n_epoch",
            "min_epochs",
            "min_steps",
            "num_sanity_val_steps",
            "reload_dataloaders_every_n_epochs",
            "enable_checkpointing",
            "use_distributed_sampler",
        ),
        "every run counts its own epochs, steps and evaluations",
    ),
}

# Advice about data loaders, hooks and Slurm that does not apply here, and a deprecation inside Lightning.
SILENCED_WARNINGS = (
    r".*does not have many workers",
    r".*The number of training batches .* is smaller than the logging interval",
    r".*`training_step` returned `None`",
    r".*You have overridden `transfer_batch_to_device` in `LightningModule`",
    r".*The `srun` command is available",
    r"Total length of `EvaluationBatches` across ranks is zero",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",
)
# Hardware reports, advertisements, and what the pack's own lines say.
SILENCED_MESSAGES = (
    "GPU available",
    "TPU available",
    "HPU available",
    "💡 Tip",
    "`Trainer.fit` stopped",
    "LOCAL_RANK",
    "Initializing distributed",
    "-----",
    "distributed_backend=",
    "All distributed processes registered",
)
SPEAKERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.distributed",
)


def make_trainer(settings: TrainerSettings, callbacks: Sequence[Callback]) -> L.Trainer:
    """A Lightning Trainer that leaves saving, early stopping and printing to the pack's callbacks.

    Raises:
        UserError: the requested hardware does not exist, or `trainer.extra` has an argument that cannot be set.
    """
    _check_extra(settings)
    _silence()
    arguments: dict[str, Any] = {
        "accelerator": settings.accelerator,
        "devices": settings.devices,
        "strategy": settings.strategy,
        "deterministic": settings.deterministic,
        "max_epochs": -1,  # every run has its own end
        "reload_dataloaders_every_n_epochs": 1,  # every epoch has its own order
        "callbacks": list(callbacks),
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    if not is_distributed(settings):
        # Otherwise Lightning would expect one process per task of a Slurm job.
        arguments["plugins"] = [LightningEnvironment()]
    try:
        return L.Trainer(**{**arguments, **(settings.extra or {})})
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise UserError(f"trainer: {first_line(error)}") from error


def check_accelerator(settings: TrainerSettings) -> None:
    """Raise a `UserError` if a GPU is asked for and there is none. `make_trainer` says the same after the model is loaded."""
    if settings.accelerator == "gpu" and not (
        CUDAAccelerator.is_available() or MPSAccelerator.is_available()
    ):
        raise UserError(
            "trainer.accelerator=gpu: torch finds no GPU here; use trainer=auto, or install torch for CUDA"
        )


def is_distributed(settings: TrainerSettings) -> bool:
    """True if several devices train a pack together."""
    return settings.devices > 1 or int((settings.extra or {}).get("num_nodes", 1)) > 1


def claim_rank_zero(settings: TrainerSettings) -> None:
    """Make this process write files and print, unless it is one of several that train a pack together.

    Lightning takes the rank from RANK, LOCAL_RANK, SLURM_PROCID or JSM_NAMESPACE_RANK. Where each task of a Slurm job
    trains a run of its own, these variables are set, too. On nodes that are started by hand, only NODE_RANK is set before
    the Trainer is there.
    """
    if not is_distributed(settings):
        rank_zero_only.rank = 0  # type: ignore[attr-defined]
    elif int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))) > 0 and is_first_process():
        rank_zero_only.rank = 1  # type: ignore[attr-defined]


def is_first_process() -> bool:
    """True for the process that writes files and prints."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined, no-any-return]


def is_dry(settings: TrainerSettings) -> bool:
    """True for Lightning's `fast_dev_run`: one batch of everything. Its scores are of no use, so nothing is written."""
    return bool((settings.extra or {}).get("fast_dev_run"))


def _check_extra(settings: TrainerSettings) -> None:
    known = inspect.signature(L.Trainer).parameters
    for name, value in (settings.extra or {}).items():
        if name in RESERVED:
            raise UserError(f"trainer.extra.{name}={value!r}: cannot be set here: {RESERVED[name]}")
        if name not in known:
            raise UserError(f"trainer.extra.{name}={value!r}: lightning.Trainer has no such argument")


def _silence() -> None:
    """Silence the warnings and messages named above, and no others."""
    for message in SILENCED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in SPEAKERS:
        logger = logging.getLogger(name)
        if _is_wanted not in logger.filters:
            logger.addFilter(_is_wanted)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.propagate = (
            not logger.handlers
        )  # else a message is printed twice, the second time by Hydra's logger


def _is_wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().strip().startswith(SILENCED_MESSAGES)
