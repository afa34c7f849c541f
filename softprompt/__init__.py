"""Train soft prompts in front of a frozen language model, and read what they learned.

In a notebook: `softprompt.load(<a run's folder>)` gives a trained prompt with its model and task.
"""

from typing import TYPE_CHECKING, Any

from softprompt.version import __version__

if TYPE_CHECKING:
    from softprompt.library import TrainedPrompt, load
    from softprompt.prompt import SoftPrompt

__all__ = ["SoftPrompt", "TrainedPrompt", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import on first use, because torch takes seconds and a command with a mistyped value should not wait for it."""
    if name in ("TrainedPrompt", "load"):
        from softprompt import library

        return getattr(library, name)
    if name == "SoftPrompt":
        from softprompt.prompt import SoftPrompt

        return SoftPrompt
    raise AttributeError(f"module 'softprompt' has no attribute {name!r}")
