"""The run whose prompt another run starts from (`prompt=run`)."""

from glob import glob
from pathlib import Path

from softprompt.errors import UserError
from softprompt.prompt import FILE


def source_folder(pattern: str, seed: int) -> Path:
    """The folder of the run that a path or a pattern (`*`, `?`, `[...]`) names.

    Args:
        pattern: `<sweep>/<task>/<run id>`, such as `outputs/demo/rte/text-seed{seed}-*`.
        seed: what stands in the place of `{seed}`.

    Raises:
        UserError: no run matches, or several do.
    """
    pattern = pattern.replace("{seed}", str(seed))
    if (Path(pattern) / FILE).is_file():  # a folder's name may look like a pattern
        return Path(pattern)
    found = [folder for folder in sorted(map(Path, glob(pattern))) if (folder / FILE).is_file()]
    if len(found) > 1:
        raise UserError(
            f"prompt.run={pattern}: {len(found)} runs match ({found[0].name}, {found[1].name}{', ...' * (len(found) > 2)}); "
            "name one of them"
        )
    if found:
        return found[0]
    sweep = Path(pattern).parent.parent
    if not sweep.is_dir():
        raise UserError(
            f"prompt.run: there is no sweep {sweep}; train it first (outputs/demo is trained by `make demo`)"
        )
    raise UserError(f"prompt.run={pattern}: no run matches; train it first")
