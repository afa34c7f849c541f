"""Starts a Weights & Biases run, offline if there is no API key."""

import os
from typing import Any

from softprompt.errors import UserError, first_line
from softprompt.settings import LoggerSettings


def start_wandb_run(settings: LoggerSettings, **arguments: Any) -> Any:
    """`wandb.init` with the project of `settings` and these arguments.

    Raises:
        UserError: W&B refuses the key, or cannot be reached.
    """
    import wandb  # here, because most runs do not use it and the import takes a second

    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        has_key = wandb.login(prompt=False)
        return wandb.init(
            project=settings.project,
            entity=settings.entity,
            mode="online" if has_key else "offline",
            **arguments,
        )
    except wandb.Error as error:
        raise UserError(f"logger=wandb: {first_line(error)}; WANDB_MODE=offline records here") from error
