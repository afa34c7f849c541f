"""The settings of a run.

Each class mirrors one group of `conf/`; the comments beside the keys there explain each key.
"""

import string
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from softprompt.settings.data import DataSettings
from softprompt.settings.logger import LoggerSettings
from softprompt.settings.values import STRICT, DottedPath, LearningRate, Name, Positive, Text

MICROWORLD = "softprompt.microworld.model"  # the package that carries the default model

BOS = "model/bos"  # among a model's hashes: the token in front of every prompt, as text, if there is one


@dataclass(frozen=True, config=STRICT)
class TaskSettings:
    """How a record becomes a text and an answer (`conf/task`)."""

    name: Name
    folder: Text
    hub_config: Text | None
    instruction: Text
    template: Text
    label: Text | None = None
    verbalizers: dict[Text, list[str | int | bool]] = field(
        default_factory=dict
    )  # empty: answers are free text
    answers: Text | None = None
    max_answer_tokens: Annotated[int, Field(ge=1, le=1000)] = 16
    metrics: list[Literal["f1a", "question_exact_match"]] = field(default_factory=list)
    group_by: list[Text] = field(default_factory=list)

    @property
    def fields(self) -> list[str]:
        """Names of the record fields in the template, in order of appearance."""
        return list(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(self.template) if name))

    @property
    def answer_field(self) -> str:
        """The record's field with its label or, if answers are free text, with the right answers."""
        name = self.answers or self.label
        assert name is not None  # see `_answers_are_a_list_or_free_text`
        return name

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
        if any(width or conversion for _, _, width, conversion in parts):
            raise ValueError("should have plain names in braces, as in {premise}, without ':' or '!'")
        if template != template.rstrip():
            raise ValueError("should not end in white space: a space is put before the answer")
        return template

    @field_validator("verbalizers", mode="before")
    @classmethod
    def _null_is_empty(cls, verbalizers: object) -> object:
        return {} if verbalizers is None else verbalizers

    @field_validator("verbalizers")
    @classmethod
    def _verbalizers_differ(
        cls, verbalizers: dict[str, list[str | int | bool]]
    ) -> dict[str, list[str | int | bool]]:
        if not verbalizers:
            return verbalizers
        if len(verbalizers) < 2:
            raise ValueError("should have at least two answers")
        labels = [(type(label), label) for values in verbalizers.values() for label in values]
        if not all(verbalizers.values()) or len(set(labels)) < len(labels):
            raise ValueError("should give every answer at least one label, and no label to two answers")
        return verbalizers

    @model_validator(mode="after")
    def _answers_are_a_list_or_free_text(self) -> "TaskSettings":
        if self.answers is None:
            for name in ("label", "verbalizers"):
                if not getattr(self, name):
                    raise ValueError(
                        f"task.{name} is missing: set it or, if answers are free text, task.answers, the field that has them"
                    )
        elif self.label or self.verbalizers or self.metrics:
            raise ValueError(
                f"task.answers={self.answers}: answers that are free text need task.label=null, task.verbalizers=null and no "
                "task.metrics"
            )
        return self

    @model_validator(mode="after")
    def _questions_have_a_name(self) -> "TaskSettings":
        if "question_exact_match" in self.metrics and not self.group_by:
            raise ValueError(
                "task.group_by=[]: should name the fields that the records of a question have in common, because "
                "task.metrics has question_exact_match"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class ModelSettings:
    """Which frozen language model stands behind the prompt (`conf/model`)."""

    id: Text
    revision: Text | None
    package: DottedPath | None
    gguf_file: Text | None
    dtype: Literal["auto", "bfloat16", "float32"]
    lr: LearningRate | None
    bos: Literal["auto"] | bool = "auto"

    @model_validator(mode="after")
    def _the_default_is_not_another_model(self) -> "ModelSettings":
        if self.package == MICROWORLD and self.id != "microworld":
            raise ValueError(
                f"model.id={self.id} needs a file of conf/model that loads by id: add model=any (any model of the hub, "
                "or a folder), or set model.package=null"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class PromptSettings:
    """What the prompt starts from (`conf/prompt`). `init` names a function of `initialisers.py`."""

    init: Name
    length: Annotated[int, Field(ge=1, le=10_000)] | None = None
    text: Text | None = None
    path: Text | None = None
    run: Text | None = None
    runs: Annotated[list[Text], Field(min_length=1)] | None = None
    like: Text | None = None
    bound: Annotated[float, Field(gt=0)] | None = None


@dataclass(frozen=True, config=STRICT)
class SoftSettings:
    """Prompt tuning (`conf/method/prompt`)."""

    name: Literal["prompt"] = "prompt"


@dataclass(frozen=True, config=STRICT)
class PrefixSettings:
    """Prefix tuning (`conf/method/prefix`). `hidden` None means that no network makes the prefix."""

    name: Literal["prefix"]
    hidden: Positive | None


@dataclass(frozen=True, config=STRICT)
class ResidualSettings:
    """Prompt tuning with a network added to the rows (`conf/method/residual`)."""

    name: Literal["residual"]
    hidden: Positive


@dataclass(frozen=True, config=STRICT)
class PezSettings:
    """Prompt tuning with every row projected to its nearest token (`conf/method/pez`)."""

    name: Literal["pez"]


@dataclass(frozen=True, config=STRICT)
class AutoPromptSettings:
    """A search for tokens (`conf/method/autoprompt`)."""

    name: Literal["autoprompt"]
    candidates: Positive
    side_by_side: Positive


MethodSettings = Annotated[
    SoftSettings | ResidualSettings | PrefixSettings | PezSettings | AutoPromptSettings,
    Field(discriminator="name"),
]


@dataclass(frozen=True, config=STRICT)
class OptimSettings:
    """Which optimiser takes the steps (`conf/optim`). `arguments` go to the class that `target` names, beside `lr`.

    In a config the arguments stand beside `lr`, and `target` is called `_target_`. `lr` None means the one that goes with
    the model (`optimizers.learning_rate`).
    """

    name: Name
    target: DottedPath
    lr: LearningRate | None
    arguments: dict[str, Any]


@dataclass(frozen=True, config=STRICT)
class TrainerSettings:
    """How long, how much at a time, and on what (`conf/trainer`)."""

    max_epochs: Positive
    max_steps: Annotated[int, Field(ge=0)] | None
    batch_size: Positive
    patience: Positive
    min_delta: Annotated[float, Field(ge=0)]
    early_evaluations: bool
    gradient_clip_val: Annotated[float, Field(gt=0)] | None
    eval_batch_size: Positive
    accelerator: Literal["auto", "cpu", "gpu"]
    devices: Positive
    strategy: Literal["auto", "ddp"]
    threads: Positive | None
    deterministic: bool
    checkpoint_seconds: Annotated[float, Field(ge=0)]
    extra: dict[Text, Any] | None


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
    objective: Literal["loss", "exact_match"]
    method: MethodSettings = field(default_factory=SoftSettings)

    @model_validator(mode="after")
    def _a_field_of_the_template_is_cut(self) -> "Settings":
        if self.data.truncate and self.data.truncate.field not in self.task.fields:
            raise ValueError(
                f"data.truncate.field={self.data.truncate.field}: the template of task {self.task.name!r} has no such field; "
                f"it has {', '.join(self.task.fields)}"
            )
        return self
