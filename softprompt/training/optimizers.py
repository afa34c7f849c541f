"""The optimiser that `conf/optim` names by its class."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pydoc import locate
from typing import Any

import torch
from torch import nn

from softprompt.errors import UserError, first_line
from softprompt.methods import Method
from softprompt.settings import OptimSettings

# The default learning rate, in standard deviations of what is trained (of prompt tuning, of the model's embeddings). It is
# Adam's step: about how much an entry changes.
RELATIVE_STEP = 0.04


def learning_rate(settings: OptimSettings, method: Method) -> float:
    """The learning rate of a run: `optim.lr`, or `RELATIVE_STEP` of the scale of what is trained, to two digits."""
    return settings.lr or float(f"{RELATIVE_STEP * method.scale:.2g}")


def make_optimizer(settings: OptimSettings, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """An optimiser over prompts.

    Raises:
        UserError: there is no such class, it is no optimiser, or it does not take these arguments.
    """
    kind: Any = locate(settings.target)
    if not isinstance(kind, type) or not issubclass(kind, torch.optim.Optimizer):
        raise UserError(f"optim._target_={settings.target}: should be the path of a torch.optim.Optimizer")
    known = [name for name in inspect.signature(kind).parameters if name != "params"]
    for name, value in settings.arguments.items():
        if name not in known:
            raise UserError(
                f"optim.{name}={value!r}: there is no such key; {settings.target} takes {', '.join(known)}"
            )
    arguments = {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.arguments.items()
    }
    try:
        make: Any = kind  # the base class does not declare what its children take
        optimizer: torch.optim.Optimizer = make(list(parameters), lr=settings.lr, **arguments)
        return optimizer
    except (TypeError, ValueError, IndexError) as error:
        given = ", ".join(f"{name}={value}" for name, value in settings.arguments.items())
        raise UserError(
            f"optim: {settings.target} does not take lr={settings.lr}, {given}: {first_line(error)}"
        ) from error


def make_optimizers(
    settings: Sequence[OptimSettings], parameters: Sequence[nn.Parameter]
) -> list[torch.optim.Optimizer]:
    """The optimiser of each parameter. Parameters with equal settings have one optimiser, which steps them together.

    Raises:
        UserError: as `make_optimizer`.
    """
    made: list[tuple[OptimSettings, torch.optim.Optimizer]] = []
    for distinct in settings:
        if distinct not in [known for known, _ in made]:
            own = [p for p, other in zip(parameters, settings, strict=True) if other == distinct]
            made.append((distinct, make_optimizer(distinct, own)))
    return [next(optimizer for known, optimizer in made if known == own) for own in settings]


def check_optimizer(settings: OptimSettings) -> None:
    """Check, before a model is loaded and a default learning rate is known, that the optimiser can be made and takes a step.

    Raises:
        UserError: as `make_optimizer`, or it needs a closure or sparse gradients.
    """
    parameter = nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.zeros(2, 2)
    optimizer = make_optimizer(settings if settings.lr else replace(settings, lr=1.0), [parameter])
    try:
        optimizer.step()
    except (TypeError, RuntimeError) as error:
        raise UserError(
            f"optim._target_={settings.target}: cannot be used here: {first_line(error)}"
        ) from error
