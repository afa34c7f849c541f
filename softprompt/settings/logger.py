"""Where the learning curves of a run go, or the report of an analysis (`conf/logger`)."""

from dataclasses import field
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from softprompt.settings.values import STRICT, Name, Positive, Text


@dataclass(frozen=True, config=STRICT)
class LoggerSettings:
    """Where learning curves go besides `metrics.csv` (`conf/logger`).

    `project` to `tags` are for Weights & Biases (`name` is "wandb"). `lightning` is the class of another logger of
    Lightning's (`_target_`) and its arguments.
    """

    name: Name
    every: Positive = 10
    project: Text | None = None
    entity: Text | None = None
    neighbours: Annotated[int, Field(ge=1, le=100)] | None = None
    tags: list[Text] = field(default_factory=list)
    lightning: dict[Text, Any] | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "LoggerSettings":
        if self.name == "wandb" and self.project is None:
            raise ValueError("logger.project is missing: set it")
        if self.name not in ("csv", "wandb") and not isinstance((self.lightning or {}).get("_target_"), str):
            raise ValueError(
                f"logger.name={self.name}: needs logger.lightning._target_, the class of a logger of Lightning's"
            )
        return self
