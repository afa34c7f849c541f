"""A run in any logger of Lightning's: TensorBoard, MLflow and others."""

from collections.abc import Mapping, Sequence
from pydoc import ErrorDuringImport, locate
from typing import Any

from lightning.pytorch.loggers import Logger

from softprompt.errors import UserError, first_line
from softprompt.parsing import config_of
from softprompt.runs import Run
from softprompt.settings import LoggerSettings


class LightningTracker:
    """One of our runs in a logger of its own."""

    def __init__(self, run: Run, facts: Mapping[str, Any]) -> None:
        """Make the logger and log the settings. Raises a `UserError` if it cannot be made."""
        settings = run.settings
        places = {
            "path": str(run.path),
            "run": run.id,
            "label": run.label,
            "task": settings.task.name,
            "sweep": settings.sweep,
        }
        arguments = {
            name: _filled(name, value, places) for name, value in (settings.logger.lightning or {}).items()
        }
        path = arguments.pop("_target_")
        kind: Any = logger_class(settings.logger)
        try:
            self._logger: Logger = kind(**arguments)
            self._logger.log_hyperparams({**config_of(settings), **facts})
        except Exception as error:  # every logger raises errors of its own
            raise UserError(f"logger.lightning: {path} cannot be started: {first_line(error)}") from error

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        self._logger.log_metrics(dict(values), step)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Lightning's loggers have no tables. What was logged so far is written."""
        self._logger.save()

    def finish(self, run: Run) -> None:
        """Log the best prompt's scores and end."""
        if run.done:
            result = run.result()
            tuned = {f"tuned/{name}": value for name, value in result["tuned"].items() if value is not None}
            self._logger.log_metrics({**tuned, "tuned/best_step": result["best_step"]}, result["steps"])
        self._logger.finalize("success" if run.done else "failed")


def logger_class(settings: LoggerSettings) -> type[Logger]:
    """The class that `logger.lightning._target_` names.

    Raises:
        UserError: there is no such class, or it is no logger.
    """
    path = (settings.lightning or {})["_target_"]
    try:
        kind = locate(path)
    except ErrorDuringImport as error:
        raise UserError(
            f"logger.lightning._target_={path}: cannot be imported: {first_line(error)}"
        ) from error
    if not isinstance(kind, type) or not issubclass(kind, Logger):
        raise UserError(
            f"logger.lightning._target_={path}: should be the path of a lightning.pytorch.loggers.Logger"
        )
    return kind


def _filled(name: str, value: Any, places: Mapping[str, str]) -> Any:
    """A text with its places, like {path}, filled; other values as they are."""
    if isinstance(value, Mapping):
        return {key: _filled(f"{name}.{key}", inner, places) for key, inner in value.items()}
    if not isinstance(value, str):
        return value
    try:
        return value.format_map(places)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        known = ", ".join(f"{{{place}}}" for place in places)
        raise UserError(f"logger.lightning.{name}={value!r}: may have the places {known}") from error
