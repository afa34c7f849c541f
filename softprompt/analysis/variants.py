"""Names for what distinguishes the runs of a sweep."""

from collections.abc import Mapping, Sequence
from typing import Any

# By group, the keys that say which method, optimiser or initialiser its settings belong to.
KINDS = {
    "method": ("method.name",),
    "optim": ("method.name", "optim.name"),
    "prompt": ("prompt.init",),
}
NAMES = ("method.name", "optim.name", "prompt.run", "prompt.runs")  # whose values are clear by themselves


def variant_names(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each run, its initialiser and the settings in which it differs from other runs of its task, without the seed.

    For example `text`; in a sweep over methods `text, prefix`; over learning rates `text, optim.lr=0.01`; over the runs that
    prompts start from `run, rte/text`.

    Args:
        identities: per run, the nested config that makes it this run (`runs.identity`).
    """
    configs = [_flattened(identity) for identity in identities]
    names = []
    for config in configs:
        of_task = [other for other in configs if other["task.name"] == config["task.name"]]
        differences = []
        for key, value in config.items():
            # Settings of a method, an optimiser or an initialiser are compared only among runs that use the same one.
            kinds = [kind for kind in KINDS.get(key.partition(".")[0], ()) if kind != key]
            comparable = [other for other in of_task if all(other[kind] == config[kind] for kind in kinds)]
            if key != "prompt.init" and any(other.get(key) != value for other in comparable):
                differences.append(str(value) if key in NAMES else f"{key}={value}")
        names.append(", ".join([config["prompt.init"], *differences]))
    return names


def without_setting(variant: str, key: str) -> str:
    """A variant's name without one of its settings: `vocab` of `vocab, prompt.length=20`, if the key is `prompt.length`."""
    return ", ".join(part for part in variant.split(", ") if not part.startswith(f"{key}="))


def _flattened(identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """`group.key` -> value, for the settings that may distinguish runs of a sweep."""
    task = {key: identity["task"][key] for key in ("name", "instruction")}
    method = identity.get("method", {"name": "prompt"})
    groups = {
        "task": task,
        "prompt": identity["prompt"],
        "method": method,
        **{group: identity[group] for group in ("optim", "trainer", "data")},
    }
    flat = {f"{group}.{key}": value for group, keys in groups.items() for key, value in keys.items()}
    if run := flat.get("prompt.run"):
        flat["prompt.run"] = source_name(run)
    if runs := flat.get("prompt.runs"):
        flat["prompt.runs"] = " + ".join(map(source_name, runs))
        flat["prompt.like"] = source_name(flat["prompt.like"])
    return flat


def source_name(run: str) -> str:
    """What distinguishes the run that others start from, besides its seed: `rte/text` of `outputs/demo/rte/text-seed{seed}-*`."""
    folder, _, id = run.rstrip("/").rpartition("/")
    start, _, _ = id.partition("-seed")
    return f"{folder.rpartition('/')[2]}/{start}".lstrip("/")
