"""The one exception whose message is meant for the person at the keyboard."""

import sys


class UserError(Exception):
    """Something that the user asked for cannot be done.

    The message is one line that names the file, line or key, the value, and what to do.
    """


class InUse(UserError):
    """Another process trains the run."""

    EXIT_CODE = 75  # of a command: try again later (EX_TEMPFAIL in sysexits.h)


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its class if it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def one_line(error: BaseException) -> str:
    """An error's message with its lines joined."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


def print_error(error: BaseException) -> None:
    """Print one line on standard error."""
    print("error:", one_line(error), file=sys.stderr, flush=True)
