"""A run's checkpoints: plain values and tensors, with a checksum and the run's id."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from softprompt import interruption
from softprompt.errors import UserError
from softprompt.files import Damaged, seal, unseal, write_atomically, writing
from softprompt.runs.run import LAST, PREVIOUS, Run
from softprompt.version import __version__


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds. `notes` are lines for the user about how it was found."""

    state: dict[str, Any]  # tensors are on the CPU
    notes: list[str]


def save_checkpoint(run: Run, state: Mapping[str, Any]) -> None:
    """Write what a resume needs. The checkpoint before becomes `previous.ckpt`."""
    buffer = io.BytesIO()
    torch.save({"version": __version__, "state": dict(state)}, buffer)
    last = run.path / LAST
    with writing(run.path / PREVIOUS):
        if last.exists():
            last.replace(run.path / PREVIOUS)
    write_atomically(last, seal(buffer.getvalue(), run.id))


def has_checkpoint(run: Run) -> bool:
    """True if the run has a checkpoint, whether or not it can be used."""
    return any((run.path / name).exists() for name in (LAST, PREVIOUS))


def load_checkpoint(run: Run) -> Checkpoint | None:
    """The newest checkpoint that is whole, of this run, and finite; None if the run has no checkpoint.

    Raises:
        UserError: there are checkpoints, but none can be used.
    """
    problems: list[str] = []
    for path in (run.path / LAST, run.path / PREVIOUS):
        if not path.exists():
            continue
        try:
            state, notes = _read(path, run)
        except Damaged as error:
            problems.append(f"{path}: {error}")
            continue
        if problems:
            notes = [*problems, *notes, f"{path}: used instead"]
            with writing(run.path / LAST):
                (run.path / LAST).unlink(missing_ok=True)  # it must not become the previous one
        return Checkpoint(state, notes)
    if problems:
        raise UserError(f"{'; '.join(problems)}; remove the run's folder to train it anew")
    return None


def _read(path: Path, run: Run) -> tuple[dict[str, Any], list[str]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Damaged(f"cannot be read ({error.strerror})") from error
    older = content.startswith(b"PK")  # version 0.2 wrote what torch.save writes, a zip file
    payload = content if older else unseal(content, run.id)
    try:
        loaded = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        state = dict(loaded) if older else dict(loaded["state"])
        version = "0.2" if older else loaded["version"]
        finite = bool(torch.isfinite(state["prompt"]).all())
    except Exception as error:  # torch raises what its unpickler and zip reader raise
        interruption.raise_if_ending()
        raise Damaged("cannot be read as a checkpoint") from error
    if not finite:
        raise Damaged("its prompt has values that are not finite")
    notes = [f"{path}: was written by softprompt {version}, without a checksum"] if older else []
    if not older and version != __version__:
        notes = [f"{path}: was written by softprompt {version}; this is {__version__}"]
    return state, notes
