"""Which key was meant by a mistyped one."""

import re
from collections.abc import Iterator
from difflib import get_close_matches

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
            if group not in ("experiment", "hydra"):
                yield from (f"{group}.{key}" for key in _top_level(path.read_text()))
    yield from _top_level((CONF / f"{root}.yaml").read_text())


def _top_level(text: str) -> list[str]:
    return [key for key in yaml.safe_load(text) if key not in ("defaults", "hydra")]
