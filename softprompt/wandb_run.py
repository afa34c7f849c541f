"""Starts a Weights & Biases run, offline if there is no API key or no network."""

import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from typing import Any

from softprompt.errors import UserError, first_line
from softprompt.settings import LoggerSettings

TIMEOUT = 10.0  # seconds to wait for W&B

MODES = ("online", "offline", "disabled", "shared")


def start_wandb_run(settings: LoggerSettings, say: Callable[[str], None], dir: str, **arguments: Any) -> Any:
    """`wandb.init` with the project of `settings` and these arguments.

    If W&B cannot be reached, the run is recorded offline.

    Args:
        settings: project and entity.
        say: is called with a line for the user if W&B cannot be reached.
        dir: where W&B writes its files.
        arguments: others of `wandb.init`.

    Raises:
        UserError: W&B refuses the key, or WANDB_MODE is none of its modes.
    """
    if os.environ.get("WANDB_MODE") == "":
        del os.environ["WANDB_MODE"]  # W&B refuses it
    mode: Any = os.environ.get("WANDB_MODE")
    if mode is not None and mode not in MODES:
        raise UserError(f"WANDB_MODE={mode!r}: should be one of {', '.join(MODES)}")
    import wandb  # here, because most runs do not use it and the import takes a second

    os.environ.setdefault("WANDB_SILENT", "true")
    arguments |= {"project": settings.project, "entity": settings.entity, "dir": dir}
    try:
        if mode is None:
            # Whether there is a key; W&B checks it when the run starts.
            mode = "online" if wandb.login(prompt=False, verify=False) else "offline"
        reason = _unreachable(wandb.setup().settings.base_url) if mode == "online" else None
        if reason is None:
            try:
                return wandb.init(mode=mode, **arguments)
            except wandb.errors.CommError as error:
                if isinstance(error, wandb.errors.AuthenticationError) or "401" in str(error):
                    raise
                reason = first_line(error)
                # W&B does not let go of an id that it failed to start.
                arguments |= {"id": f"{arguments['id']}-offline"} if "id" in arguments else {}
        say(
            f"W&B cannot be reached ({reason}): recorded offline; upload with `wandb sync {dir}/wandb/offline-run-*`"
        )
        return wandb.init(mode="offline", **arguments)
    except (wandb.Error, ValueError, OSError) as error:
        raise UserError(f"logger=wandb: {first_line(error)}; WANDB_MODE=offline records here") from error


@cache  # the runs of a pack or a sweep wait once
def _unreachable(url: str) -> str | None:
    """Why no server answers at a URL; None if one does, with whatever answer. Proxies are used as the environment says."""
    try:
        urllib.request.urlopen(url, timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return None
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        # W&B has certificates of its own, so only W&B can say whether they are accepted.
        return None if isinstance(reason, ssl.SSLError) else str(getattr(reason, "strerror", None) or reason)
    return None
