"""Which key was meant by a mistyped one."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import yaml

from softprompt.errors import UserError
from softprompt.files import CONF

# Last parts of keys that other programs call by another name.
SYNONYMS = {"learning_rate": "lr", "epochs": "max_epochs", "steps": "max_steps", "output_dir": "output_root"}


def with_nearest_keys(error: BaseException, root: str) -> BaseException:
    """Hydra's error about a key that does not exist, as one that names similar keys; any other error as it is.

    Args:
        root: the name of the config file that Hydra composed, `train`, `analyze` or `predict`.
    """
    found = re.match(r"Could not override '([\w.@/]+)'", str(error))
    if found is None:
        return error
    key = found.group(1)
    similar = _similar(key, list(dict.fromkeys(_keys(root))))
    if root == "train" and (files := _files_with(key)):
        return UserError(
            f"there is no key {key!r} in the chosen file of its group; {' and '.join(files)} {'has' if len(files) == 1 else 'have'} "
            f"it: choose that file, or add the key with +{key}=..."
        )
    advice = (
        f"did you mean {' or '.join(similar)}?" if similar else f"conf/{root}.yaml and conf/ list all keys"
    )
    if key.startswith("optim."):
        advice += f" (+{key}=... hands another argument to the optimiser's class)"
    return UserError(f"there is no key {key!r}; {advice}")


def _similar(key: str, known: list[str]) -> list[str]:
    """Keys with the same last part, or else keys that are spelt alike."""
    last = SYNONYMS.get(last := key.rpartition(".")[2], last)
    same = [other for other in known if other.rpartition(".")[2] == last]
    alike = get_close_matches(key, known, n=2, cutoff=0.75)
    lasts = get_close_matches(last, [other.rpartition(".")[2] for other in known], n=1, cutoff=0.8)
    return same[:2] or alike or [other for other in known if other.rpartition(".")[2] in lasts][:2]


def _keys(root: str) -> Iterator[str]:
    """All keys of the config, groups first: `task`, `trainer.max_epochs`, `seed`."""
    groups = [folder.name for folder in sorted(CONF.iterdir()) if folder.is_dir()] if root == "train" else []
    yield from groups
    for group in groups:
        for path in sorted((CONF / group).glob("*.yaml")):
            yield from _keys_of_file(group, path)
    yield from _top_level((CONF / f"{root}.yaml").read_text())


def _files_with(key: str) -> list[str]:
    """The files of the key's group that have it: `task=record`. At most two."""
    group = key.partition(".")[0]
    paths = sorted((CONF / group).glob("*.yaml"))
    return [f"{group}={path.stem}" for path in paths if key in _keys_of_file(group, path)][:2]


def _keys_of_file(group: str, path: Path) -> list[str]:
    if group in ("experiment", "hydra"):
        return []
    text = path.read_text()
    # The files of `method` also set keys of other groups.
    own = yaml.safe_load(text)[group] if group == "method" else _top_level(text)
    return [f"{group}.{key}" for key in own]


def _top_level(text: str) -> list[str]:
    return [key for key in yaml.safe_load(text) if key not in ("defaults", "hydra")]
