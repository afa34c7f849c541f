"""Everything in `conf/`, typed and checked once: beyond this file no config object travels.

Each class mirrors one group of `conf/`; the comments beside the keys there say what each one does.
"""

import json
import string
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass

from softprompt.errors import UserError

T = TypeVar("T")

MICROWORLD = "softprompt.microworld.model"  # the package that carries the default model

STRICT = ConfigDict(extra="forbid", strict=True)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Text = Annotated[str, Field(min_length=1)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, le=100)]
WeightDecay = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class TaskSettings:
    """How a record becomes a text and an answer (`conf/task`)."""

    name: Name
    folder: Text
    hub_config: Text | None
    instruction: Text
    template: Text
    label: Text
    verbalizers: dict[Text, list[str | int | bool]]

    @property
    def fields(self) -> list[str]:
        """Names of the record fields that the template shows, in order of appearance."""
        return list(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(self.template) if name))

    @field_validator("template")
    @classmethod
    def _template_is_fields_and_text(cls, template: str) -> str:
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"should be text with {{field}} places ({error})") from None
        names = [name for _, name, _, _ in parts if name is not None]
        if not names or not all(name.isidentifier() for name in names):
            raise ValueError("should name at least one record field, as in {premise}, and nothing but names")
        if template != template.rstrip():
            raise ValueError("should not end in white space: a space is put before the answer")
        return template

    @field_validator("verbalizers")
    @classmethod
    def _verbalizers_differ(
        cls, verbalizers: dict[str, list[str | int | bool]]
    ) -> dict[str, list[str | int | bool]]:
        if len(verbalizers) < 2:
            raise ValueError("should have at least two answers")
        labels = [(type(label), label) for values in verbalizers.values() for label in values]
        if not all(verbalizers.values()) or len(set(labels)) < len(labels):
            raise ValueError("should give every answer at least one label, and no label to two answers")
        return verbalizers


@dataclass(frozen=True, config=STRICT)
class HubData:
    """A data set on the Hugging Face hub (`conf/data/superglue_hub`)."""

    source: Literal["hub"]
    id: Text
    revision: Text
    holdout: Rate
    predict: bool


@dataclass(frozen=True, config=STRICT)
class JsonlData:
    """A folder of JSON lines in SuperGLUE's own layout (`conf/data/superglue_jsonl`)."""

    source: Literal["jsonl"]
    root: Text
    holdout: Rate
    predict: bool


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


DataSettings = Annotated[HubData | JsonlData | MicroworldData, Field(discriminator="source")]


@dataclass(frozen=True, config=STRICT)
class ModelSettings:
    """Which frozen language model stands behind the prompt (`conf/model`)."""

    id: Text
    revision: Text | None
    package: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")] | None
    gguf_file: Text | None
    dtype: Literal["auto", "bfloat16", "float32"]
    lr: LearningRate

    @model_validator(mode="after")
    def _the_default_is_not_another_model(self) -> "ModelSettings":
        if self.package == MICROWORLD and self.id != "microworld":
            raise ValueError(
                f"model.id={self.id} needs a file of conf/model that loads by id: add model=bloomz_560m (any model "
                "of the hub, or a folder), or set model.package=null"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class PromptSettings:
    """What the prompt starts from (`conf/prompt`)."""

    init: Literal["text", "vocab", "random", "file"]
    length: Annotated[int, Field(ge=1, le=10_000)] | None = None
    text: Text | None = None
    path: Text | None = None

    @model_validator(mode="after")
    def _a_file_has_a_path(self) -> "PromptSettings":
        if self.init == "file" and self.path is None:
            raise ValueError("prompt=file needs prompt.path, the prompt.safetensors of another run")
        return self


Beta = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class Adam:
    """`conf/optim/adam`: Kingma and Ba 2015."""

    name: Literal["adam"]
    lr: LearningRate
    betas: Annotated[list[Beta], Field(min_length=2, max_length=2)]
    eps: Annotated[float, Field(gt=0)]


@dataclass(frozen=True, config=STRICT)
class AdamW:
    """`conf/optim/adamw`: Loshchilov and Hutter 2019."""

    name: Literal["adamw"]
    lr: LearningRate
    betas: Annotated[list[Beta], Field(min_length=2, max_length=2)]
    eps: Annotated[float, Field(gt=0)]
    weight_decay: WeightDecay


@dataclass(frozen=True, config=STRICT)
class Adafactor:
    """`conf/optim/adafactor`: Shazeer and Stern 2018, the optimiser of Lester et al. 2021."""

    name: Literal["adafactor"]
    lr: LearningRate
    weight_decay: WeightDecay


@dataclass(frozen=True, config=STRICT)
class SGD:
    """`conf/optim/sgd`: gradient descent with momentum."""

    name: Literal["sgd"]
    lr: LearningRate
    momentum: Rate
    weight_decay: WeightDecay


OptimSettings = Annotated[Adam | AdamW | Adafactor | SGD, Field(discriminator="name")]


@dataclass(frozen=True, config=STRICT)
class TrainerSettings:
    """How long, how much at a time, and on what (`conf/trainer`)."""

    max_epochs: Positive
    max_steps: Positive | None
    batch_size: Positive
    patience: Positive
    gradient_clip: Annotated[float, Field(gt=0)] | None
    eval_batch_size: Positive
    accelerator: Literal["auto", "cpu", "gpu"]
    devices: Positive
    strategy: Literal["auto", "ddp"]
    threads: Positive | None
    deterministic: bool
    checkpoint_seconds: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class LoggerSettings:
    """Where the learning curve goes besides `metrics.csv` (`conf/logger`)."""

    name: Literal["csv", "wandb"]
    project: Text | None = None
    entity: Text | None = None


@dataclass(frozen=True, config=STRICT)
class Settings:
    """One run: one prompt, trained with one seed on one task."""

    task: TaskSettings
    data: DataSettings
    model: ModelSettings
    prompt: PromptSettings
    optim: OptimSettings
    trainer: TrainerSettings
    logger: LoggerSettings
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    sweep: Name
    output_root: Text


Part = Literal[
    "scores",
    "neighbours",
    "calibration",
    "attribution",
    "discretised",
    "tsne",
    "norms",
    "difficulty",
    "transfer",
    "similarity",
]


@dataclass(frozen=True, config=STRICT)
class Published:
    """A task's zero-shot figures over instructions, in % of exact match, from somewhere else."""

    task: Name
    source: Text
    median: float
    maximum: float


@dataclass(frozen=True, config=STRICT)
class AnalysisSettings:
    """What `analyze.py` reads (`conf/analyze.yaml`)."""

    sweep: Text
    parts: Annotated[list[Part], Field(min_length=1)]
    neighbours: Annotated[int, Field(ge=1, le=100)]
    alignment: Literal["truncate", "pad", "resample", "match"]
    lexicon: list[Text]
    attribution_examples: Positive | None
    wordings: dict[Name, list[Text]]
    published: list[Published]


def parse_settings(config: object) -> Settings:
    """A composed config as `Settings`.

    Raises:
        UserError: a key is unknown or missing, or its value is not allowed; names key, value and rule.
    """
    return _parse(Settings, config)


def parse_analysis_settings(config: object) -> AnalysisSettings:
    """The composed `analyze` config as `AnalysisSettings`; raises as `parse_settings` does."""
    return _parse(AnalysisSettings, config)


def parse_task_settings(config: object) -> TaskSettings:
    """A file of `conf/task` as `TaskSettings`; raises as `parse_settings` does."""
    return _parse(TaskSettings, config)


def parse_microworld_data(config: object) -> MicroworldData:
    """`conf/data/microworld.yaml` as `MicroworldData`; raises as `parse_settings` does."""
    return _parse(MicroworldData, config)


def _parse(kind: type[T], config: object) -> T:
    _check_keys(config)
    try:
        # As JSON, because there the strict mode takes objects for dataclasses (and still no "3" for 3).
        return TypeAdapter(kind).validate_json(json.dumps(config))
    except ValidationError as errors:
        error = errors.errors()[0]
    key, value = _find(config, error["loc"])
    if error["type"] == "union_tag_invalid":
        context = error["ctx"]
        key, value = f"{key}.{context['discriminator']}".replace("'", ""), context["tag"]
        raise UserError(f"{key}={value!r}: should be one of {context['expected_tags']}")
    if error["type"] == "missing":
        raise UserError(f"{key} is missing: set it")
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        raise UserError(f"{key}={value!r}: there is no such key")
    rule = error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    raise UserError(rule if isinstance(value, Mapping) else f"{key}={value!r}: {rule}")


def _check_keys(config: object, above: str = "") -> None:
    """Mandatory values (`???` in a YAML file) have to be given, and keys have to be text.

    YAML reads an unquoted `yes` or `no` as a truth value, also where it stands for an answer.
    """
    if isinstance(config, Mapping):
        for key, value in config.items():
            if not isinstance(key, str):
                raise UserError(f"{above}{key}: the key is {key!r}, and should be text: put it in quotes")
            if value == "???":
                raise UserError(f"{above}{key} is missing: set it")
            _check_keys(value, f"{above}{key}.")


def _find(config: object, loc: tuple[int | str, ...]) -> tuple[str, object]:
    """The dotted key that a validation error speaks of, and its value there.

    pydantic puts the tag of a union (`jsonl`, `adam`) and the type it tried into the path; they are no keys.
    """
    keys: list[str] = []
    for part in loc:
        if isinstance(config, Mapping) and (part in config or part == loc[-1]):
            config = config.get(part)
            keys.append(str(part))
        elif isinstance(config, list) and isinstance(part, int):
            config = config[part]
            keys.append(str(part))
    return ".".join(keys), config
