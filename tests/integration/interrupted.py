"""Cuts a training off between two steps, without a chance to save."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from softprompt.training.tuning import PromptTuning


@contextmanager
def cut_off(at_step: int) -> Iterator[None]:
    """Inside the context a training ends with an error before its step number `at_step` is counted, and must get there."""
    original, steps = PromptTuning.on_train_batch_end, []

    def stop(self: PromptTuning, *arguments: object) -> None:
        steps.append(1)
        if len(steps) == at_step:
            raise ConnectionAbortedError
        original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ConnectionAbortedError):
        patch.setattr(PromptTuning, "on_train_batch_end", stop)
        yield
