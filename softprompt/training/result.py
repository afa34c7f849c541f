"""The content of `result.json`: a run's scores, their baselines, and their provenance."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from softprompt.data.module import TaskData
from softprompt.methods import Method
from softprompt.runs import Row, Run
from softprompt.training.optimizers import learning_rate
from softprompt.training.run_memory import run_memory
from softprompt.training.run_state import RunState
from softprompt.version import __version__

NO_SCORES = ("epoch", "step", "train_loss", "seconds")  # columns of metrics.csv
PACKAGES = ("torch", "lightning", "transformers", "datasets", "torchmetrics", "safetensors")


def make_result(
    run: Run,
    fingerprint: dict[str, str],
    state: RunState,
    tuned: Row,
    baselines: dict[str, Any],
    data: TaskData,
    method: Method,
) -> dict[str, Any]:
    """The content of `result.json`.

    Args:
        fingerprint: hashes of data and model, by file name.
        tuned: the best prompt's scores on the official validation set.
        baselines: the scores without tuning, on the same set.
        method: what trained the prompt.
    """
    backbone = method.view
    return {
        "run": run.id,
        "task": run.settings.task.name,
        "seed": run.settings.seed,
        "init": run.settings.prompt.init,
        "rows": len(state.initial.matrix),
        "method": run.settings.method.name,
        "parameters": method.parameters(state.prompt),
        "memory": run_memory(method, state),
        "lr": learning_rate(run.settings.optim, method),
        "tuned": _scores(tuned),
        "baselines": baselines,
        "selected_on": "validation" if data.selection is data.validation else "holdout",
        "selection": _scores(state.best_scores),
        "best_step": state.best_step,
        "steps": state.order.total_steps,
        "epochs": state.order.epoch,
        "stopped": state.stopped,
        "seconds": round(state.seconds, 1),
        "examples": {
            "train": len(data.train),
            "selection": len(data.selection),
            "validation": len(data.validation),
        },
        "truncated": data.truncated if run.settings.data.truncate else None,
        "backbone": {
            "id": backbone.id,
            "revision": backbone.revision,
            "dtype": str(backbone.dtype).removeprefix("torch."),
        },
        "hashes": fingerprint,
        "versions": {
            "softprompt": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        "commit": _commit(),
    }


def _scores(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in NO_SCORES}


def _commit() -> str | None:
    """The commit of the code that ran, with a `+` if files differ from it; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
