"""What distinguishes the runs of a sweep, in words."""

from collections.abc import Mapping, Sequence
from typing import Any


def variant_names(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each run, its start and what else distinguishes it from other runs of its task, besides the seed.

    `text`; in a sweep over optimisers `text, sgd`; over learning rates `text, optim.lr=0.01`.

    Args:
        identities: per run, the nested config that makes it this run (`runs.identity`).
    """
    flat = [_flatten(identity) for identity in identities]
    names = []
    for run in flat:
        of_task = [other for other in flat if other["task.name"] == run["task.name"]]
        extras = []
        for key, value in run.items():
            # The keys of an optimiser or a start are compared among runs with the same one.
            kind = {"optim": "optim.name", "prompt": "prompt.init"}.get(key.partition(".")[0])
            comparable = [other for other in of_task if kind in (None, key) or other[kind] == run[kind]]
            if key != "prompt.init" and any(other.get(key) != value for other in comparable):
                extras.append(str(value) if key == "optim.name" else f"{key}={value}")
        names.append(", ".join([run["prompt.init"], *extras]))
    return names


def _flatten(identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """`group.key` -> value, for the keys that may distinguish runs which are compared."""
    task = {key: identity["task"][key] for key in ("name", "instruction")}
    groups = {"task": task, **{group: identity[group] for group in ("prompt", "optim", "trainer", "data")}}
    return {f"{group}.{key}": value for group, keys in groups.items() for key, value in keys.items()}
