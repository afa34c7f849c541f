"""The runs whose prompts another run starts from (`prompt=run`, `prompt=mean`)."""

from dataclasses import dataclass
from glob import glob
from pathlib import Path

from softprompt.errors import UserError
from softprompt.prompt import FILE, SoftPrompt
from softprompt.settings import PromptSettings


def source_folder(pattern: str, seed: int, key: str = "prompt.run") -> Path:
    """The folder of the run that a path or a pattern (`*`, `?`, `[...]`) names.

    Args:
        pattern: `<sweep>/<task>/<run id>`, such as `outputs/demo/rte/text-seed{seed}-*`.
        seed: what stands in the place of `{seed}`.
        key: of the config, for errors.

    Raises:
        UserError: no run matches, or several do.
    """
    pattern = pattern.replace("{seed}", str(seed))
    if (Path(pattern) / FILE).is_file():  # a folder's name may look like a pattern
        return Path(pattern)
    found = [folder for folder in sorted(map(Path, glob(pattern))) if (folder / FILE).is_file()]
    if len(found) > 1:
        raise UserError(
            f"{key}={pattern}: {len(found)} runs match ({found[0].name}, {found[1].name}{', ...' * (len(found) > 2)}); "
            "name one of them"
        )
    if found:
        return found[0]
    sweep = Path(pattern).parent.parent
    if not sweep.is_dir():
        raise UserError(
            f"{key}: there is no sweep {sweep}; train it first (outputs/demo is trained by `make demo`)"
        )
    raise UserError(f"{key}={pattern}: no run matches; train it first")


@dataclass(frozen=True)
class FoldersOfMean:
    """The folders of the runs that `prompt=mean` reads.

    Attributes:
        averaged: the mean is made of these runs' prompts.
        like: of a run of the task that is trained. The more similar a prompt is to this run's, the larger is its weight.
    """

    averaged: list[Path]
    like: Path


def folders_of_mean(settings: PromptSettings, task: str, seed: int) -> FoldersOfMean:
    """The runs that `prompt.runs` and `prompt.like` name.

    Args:
        settings: with paths or patterns as in `source_folder`.
        task: of the run that starts from the mean. Runs of this task in `prompt.runs` are left out. `prompt.like` has to be of it,
            and may have `{task}` in its place.
        seed: what stands in the place of `{seed}`.

    Raises:
        UserError: one of them names no run or several, a run of another task is named twice, `prompt.like` is of another task, or
            `prompt.runs` has no run of another task.
    """
    if settings.runs is None or settings.like is None:
        raise UserError(
            "prompt=mean needs prompt.runs, a list of other runs' folders or patterns, and prompt.like, a run of this task, such as "
            "outputs/demo/{task}/text-seed{seed}-*"
        )
    like = source_folder(settings.like.replace("{task}", task), seed, "prompt.like")
    if (other := _task(like)) != task:
        raise UserError(f"prompt.like={like}: is a run of task {other!r}; name one of {task!r}")
    folders = [source_folder(pattern, seed, "prompt.runs") for pattern in settings.runs]
    averaged = [folder for folder in folders if _task(folder) != task]
    if not averaged:
        raise UserError(
            f"prompt.runs names only runs of task {task!r}, which are left out; name runs of other tasks"
        )
    for place, folder in enumerate(averaged):
        if folder.resolve() in [earlier.resolve() for earlier in averaged[:place]]:
            raise UserError(f"prompt.runs: {folder} is named twice; name each run once")
    return FoldersOfMean(averaged, like)


def _task(folder: Path) -> str:
    return SoftPrompt.load(folder / FILE).task
