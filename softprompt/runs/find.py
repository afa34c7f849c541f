"""Finds the finished runs under a folder."""

from collections.abc import Sequence
from pathlib import Path

from softprompt.errors import UserError
from softprompt.files import check_folder, json_sha256
from softprompt.runs.identity import identity
from softprompt.runs.run import INITIAL, LAST, PREVIOUS, PROMPT, RESULT, Run


def find_runs(folder: Path, *, skip_unfinished: bool = False) -> list[Run]:
    """All runs under a folder, by path.

    Args:
        folder: a sweep, or any folder above runs.
        skip_unfinished: leave out runs that have no result, instead of raising.

    Raises:
        UserError: the folder does not exist, holds no finished run, an unfinished run, a run with a damaged file, or one
            run twice.
    """
    check_folder(folder)
    unfinished = unfinished_runs(
        folder
    )  # first: a run that finishes in the meantime must be in one of the lists
    runs = [Run.at(path.parent) for path in sorted(folder.rglob(RESULT))]
    if not runs:
        raise UserError(f"sweep={folder}: there is no finished run (no {RESULT}) under this folder")
    if unfinished and not skip_unfinished:
        others = f", and {len(unfinished) - 1} others are not" if len(unfinished) > 1 else ""
        raise UserError(
            f"{unfinished[0]}: this run is not finished{others}; train or remove what is not finished, or leave it out "
            "with unfinished=skip"
        )
    _check_different(folder, runs)
    return runs


def unfinished_runs(folder: Path) -> list[Path]:
    """The directories under a folder that hold a run without a result."""
    begun = {path.parent for name in (INITIAL, PROMPT, LAST, PREVIOUS) for path in folder.rglob(name)}
    return sorted(path for path in begun if not (path / RESULT).exists())


def _check_different(folder: Path, runs: Sequence[Run]) -> None:
    """Raise a `UserError` if two runs have the same settings and data.

    Ids are not compared, because another version may have given the run another id.
    """
    known: dict[str, Run] = {}
    for run in runs:
        content = json_sha256([identity(run.settings), run.result().get("hashes")])
        if (other := known.setdefault(content, run)) is not run:
            copy, original = (run, other) if run.path.name != run.id else (other, run)
            what = f"{copy.path} is a copy of {original.path}"
            if copy.path.name == copy.id:  # both folders have the run's name
                what = f"{original.path} and {copy.path} are the same run"
            raise UserError(
                f"sweep={folder}: {what}; remove one of them, or name a folder that holds it once"
            )
