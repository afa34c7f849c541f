"""An interruption that a library hides behind an error of its own."""

import signal

import pytest

from softprompt import interruption
from softprompt.interruption import Interrupted


def test_an_interruption_that_was_hidden_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_ending", None)
    interruption.raise_if_ending()
    with pytest.raises(AttributeError):
        try:
            interruption.end(signal.SIGTERM)
        finally:
            raise AttributeError("half changed") from None
    with pytest.raises(Interrupted, match="stopped by SIGTERM") as caught:
        interruption.raise_if_ending()
    assert caught.value is interruption.ending() and caught.value.code == 143
