"""What sets the runs of a sweep apart, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from softprompt.run import CIRCUMSTANCES
from softprompt.settings import Settings


def variant_names(runs: Sequence[Settings]) -> list[str]:
    """What sets each run apart from others of its task, besides the seed: its start, and all else that was asked.

    `text`, or in a sweep over optimisers `text, sgd`, or over learning rates `text, optim.lr=0.01`.
    """
    asked = [_asked(run) for run in runs]
    names = []
    for mine in asked:
        of_task = [other for other in asked if other["task.name"] == mine["task.name"]]
        extras = []
        for key, value in mine.items():
            # An optimiser's or a start's own keys tell its runs from each other, not from another's.
            kind = {"optim": "optim.name", "prompt": "prompt.init"}.get(key.partition(".")[0])
            alike = [other for other in of_task if kind in (None, key) or other[kind] == mine[kind]]
            if key != "prompt.init" and any(other.get(key) != value for other in alike):
                extras.append(str(value) if key == "optim.name" else f"{key}={value}")
        names.append(", ".join([mine["prompt.init"], *extras]))
    return names


def _asked(run: Settings) -> Mapping[str, Any]:
    groups = {
        "task": {"name": run.task.name, "instruction": run.task.instruction},
        "prompt": asdict(run.prompt),
        "optim": asdict(run.optim),
        "trainer": asdict(run.trainer),
        "data": asdict(run.data),
    }
    return {
        f"{group}.{key}": value
        for group, settings in groups.items()
        for key, value in settings.items()
        if key not in CIRCUMSTANCES.get(group, ())
    }
