"""An interruption that a library's clean-up hides behind an error of its own."""

import signal

import pytest

from softprompt import interruption
from softprompt.errors import UserError
from softprompt.interruption import Interrupted


def hidden(by: Exception) -> Exception:
    """An error raised by a clean-up after an interruption, as a function that turns errors into others passes it on."""
    try:
        try:
            try:
                raise Interrupted(signal.SIGTERM)
            finally:
                raise AttributeError("half changed")
        except Exception as error:
            raise by from error
    except type(by) as error:
        return error


@pytest.mark.parametrize("error", [UserError("cannot be loaded"), AttributeError("no such thing")])
def test_an_interruption_is_found_behind_other_errors(error: Exception) -> None:
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        interruption.raise_if_behind(hidden(error))


def test_other_errors_pass() -> None:
    try:
        try:
            raise OSError("first")
        except OSError as first:
            raise UserError("second") from first
    except UserError as error:
        assert interruption.behind(error) is None
        interruption.raise_if_behind(error)
