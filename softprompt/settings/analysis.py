"""The settings of the commands that read finished runs (`conf/analyze.yaml`, `conf/predict.yaml`)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from softprompt.settings.logger import LoggerSettings
from softprompt.settings.values import STRICT, Name, Positive, Text


@dataclass(frozen=True, config=STRICT)
class Published:
    """Published zero-shot scores of a task over several instructions, in %.

    `printed_delta` is the difference of maximum and median as printed, if that was another number.
    """

    task: Name
    source: Text
    median: float
    maximum: float
    printed_delta: float | None = None


@dataclass(frozen=True, config=STRICT)
class PublishedNorms:
    """The published mean Frobenius norm of a task's prompts, and the variance of their norms."""

    task: Name
    source: Text
    norm: float
    variance: float


@dataclass(frozen=True, config=STRICT)
class Elicitation:
    """An instruction to repeat a text: what stands before the text, and after it."""

    before: str
    after: str


@dataclass(frozen=True, config=STRICT)
class AnalysisSettings:
    """What `analyze.py` reads (`conf/analyze.yaml`).

    `parts` None means all sections, `logger` None that of the runs.
    """

    sweep: Text
    parts: Annotated[list[Name], Field(min_length=1)] | None
    neighbours: Annotated[int, Field(ge=1, le=100)]
    alignment: Literal["truncate", "pad", "resample", "match"]
    lexicon: list[Text]
    ablation_examples: Positive | None
    pruning_examples: Positive | None
    elicitation: Elicitation
    wordings: dict[Name, list[Text]]
    published: list[Published]
    published_norms: list[PublishedNorms]
    unfinished: Literal["refuse", "skip"] = "refuse"
    data_root: Text | None = None
    logger: LoggerSettings | None = None

    @model_validator(mode="after")
    def _the_logger_takes_reports(self) -> "AnalysisSettings":
        if self.logger and self.logger.name not in ("csv", "wandb"):
            raise ValueError(f"logger={self.logger.name}: a report goes to wandb, or nowhere (csv)")
        return self


@dataclass(frozen=True, config=STRICT)
class PredictSettings:
    """What `softprompt-predict` answers (`conf/predict.yaml`)."""

    run: Text
    file: Text | None
    batch: Positive
