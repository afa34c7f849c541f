"""The one exception whose message is meant for the person at the keyboard, and how it reaches them."""

import sys
from types import TracebackType


class UserError(Exception):
    """Something the user asked for cannot be done.

    The message is one line that names the file, line or key, the value, and what to do.
    """


def first_line(error: BaseException) -> str:
    """What an error says first; its name where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


class ErrorReport:
    """As a context, turns a `UserError` (or another of `kinds`) into one line on standard error.

    Other exceptions are bugs and pass with their traceback. `exit_code` is 1 once anything was reported.
    """

    def __init__(self, *kinds: type[Exception]) -> None:
        self.kinds: tuple[type[Exception], ...] = (UserError, *kinds)
        self.exit_code = 0

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Report and swallow."""
        if not isinstance(error, self.kinds):
            return False
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        print("error:", " ".join(lines), file=sys.stderr, flush=True)
        self.exit_code = 1
        return True
