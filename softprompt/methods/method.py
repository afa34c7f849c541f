"""What a method has to say: how its trainable values become what stands in front of the text."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbone import Backbone
from softprompt.errors import UserError
from softprompt.methods.hard import HardMethod
from softprompt.methods.prefix import PrefixBackbone, PrefixMethod
from softprompt.methods.residual import ResidualMethod
from softprompt.methods.soft import SoftMethod
from softprompt.prompt import SoftPrompt
from softprompt.settings import (
    AutoPromptSettings,
    MethodSettings,
    PezSettings,
    PrefixSettings,
    ResidualSettings,
    TaskSettings,
)


@runtime_checkable
class Method(Protocol):
    """A method in front of one frozen model."""

    @property
    def view(self) -> Backbone:
        """The model as it takes what stands in front."""
        ...

    @property
    def scale(self) -> float:
        """Standard deviation of what is trained, for a default learning rate."""
        ...

    def start(self, initial: SoftPrompt) -> SoftPrompt:
        """What stands in front of the text before training, made from the rows of an initialiser.

        Only prefix tuning is given rows that are keys and values already.

        Raises:
            UserError: the method cannot start from these rows.
        """
        ...

    def values(self, start: SoftPrompt, generator: torch.Generator) -> Tensor:
        """The trainable values at `start`: one tensor, float32 on the CPU."""
        ...

    def parameters(self, values: Tensor) -> int:
        """How many numbers are trained; of a search for tokens, how many tokens are chosen."""
        ...

    def in_front(self, values: Tensor, start: Float[Tensor, "n _"]) -> Float[Tensor, "n _"]:
        """What stands in front of the text. Gradients flow back to the values.

        Args:
            values: as `values` made them, after some training.
            start: the matrix of `start`.
        """
        ...


def make_method(settings: MethodSettings, backbone: Backbone, task: TaskSettings) -> Method:
    """The method that the settings name.

    Args:
        backbone: the frozen model.
        task: its answers may not be used by discrete prompts.

    Raises:
        UserError: the model or the task does not allow the method.
    """
    answers = list(task.verbalizers)
    match settings:
        case PrefixSettings():
            if task.answers:
                raise UserError(
                    f"task {task.name!r}: its answers are free text, which is not generated behind prefixes; use method=prompt"
                )
            return PrefixMethod(backbone, settings.hidden)
        case ResidualSettings():
            return ResidualMethod(backbone, settings.hidden)
        case PezSettings():
            return HardMethod(backbone, answers, project=True)
        case AutoPromptSettings():
            return HardMethod(backbone, answers, project=False)
        case _:
            return SoftMethod(backbone)


def view_of(settings: MethodSettings, backbone: Backbone) -> Backbone:
    """The model as it takes what a method trained."""
    return PrefixBackbone(backbone) if isinstance(settings, PrefixSettings) else backbone
