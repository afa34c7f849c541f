"""What a run leaves in `result.json`: its scores, what they are to be compared with, and where they come from."""

import platform
import subprocess
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from softprompt import __version__
from softprompt.backbone import Backbone
from softprompt.data.module import TaskData
from softprompt.evaluation import Scores
from softprompt.run import Run
from softprompt.tuning import Row, RunState

PACKAGES = ("torch", "lightning", "transformers", "datasets", "torchmetrics", "safetensors")


def make_result(
    run: Run, state: RunState, tuned: Row, baselines: dict[str, Any], data: TaskData, backbone: Backbone
) -> dict[str, Any]:
    """The content of `result.json`; `tuned` are the best prompt's scores on the official validation set."""
    return {
        "run": run.id,
        "task": run.settings.task.name,
        "seed": run.settings.seed,
        "init": run.settings.prompt.init,
        "rows": state.prompt.shape[0],
        "tuned": {field.name: tuned[field.name] for field in fields(Scores)},
        "baselines": baselines,
        "selected_on": "validation" if data.selection is data.report else "holdout",
        "best_step": state.best_step,
        "steps": state.order.total_steps,
        "epochs": state.order.epoch,
        "stopped": state.stopped,
        "seconds": round(state.seconds, 1),
        "examples": {
            "train": len(data.train),
            "selection": len(data.selection),
            "validation": len(data.report),
        },
        "backbone": {
            "id": backbone.id,
            "revision": backbone.revision,
            "dtype": str(backbone.dtype).removeprefix("torch."),
        },
        "hashes": run.fingerprint,
        "versions": {
            "softprompt": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the code that ran, with a `+` if it was changed since; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
