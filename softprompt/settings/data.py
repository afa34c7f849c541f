"""Where records come from, a class for each kind of source (`conf/data`)."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from softprompt.settings.values import STRICT, Rate, Text


@dataclass(frozen=True, config=STRICT)
class Truncate:
    """Which field of a record that is too long for the model's context is cut, and at which end."""

    field: Text
    drop: Literal["start", "end"]
    prompt_rows: Annotated[int, Field(ge=0)] = 100


@dataclass(frozen=True, config=STRICT)
class HubData:
    """A data set on the Hugging Face hub (`conf/data/superglue_hub`)."""

    source: Literal["hub"]
    id: Text
    revision: Text
    holdout: Rate
    predict: bool
    truncate: Truncate | None = None


@dataclass(frozen=True, config=STRICT)
class JsonlData:
    """A folder of JSON lines in SuperGLUE's own layout (`conf/data/superglue_jsonl`)."""

    source: Literal["jsonl"]
    root: Text
    holdout: Rate
    predict: bool
    truncate: Truncate | None = None


@dataclass(frozen=True, config=STRICT)
class FilesData:
    """Files in any place, in one of several formats (`conf/data/files`)."""

    source: Literal["files"]
    train: Text
    validation: Text
    test: Text | None
    columns: dict[Text, Text] | None
    holdout: Rate
    predict: bool
    truncate: Truncate | None = None


@dataclass(frozen=True, config=STRICT)
class MicroworldData:
    """Records of the microworld (`conf/data/microworld`)."""

    source: Literal["microworld"]
    seed: Annotated[int, Field(ge=0)]
    train: Annotated[int, Field(ge=1, le=1000)]
    validation: Annotated[int, Field(ge=1, le=500)]
    level: Annotated[int, Field(ge=1, le=3)] | None
    holdout: Rate
    predict: bool
    truncate: Truncate | None = None


DataSettings = Annotated[HubData | JsonlData | FilesData | MicroworldData, Field(discriminator="source")]
