"""The one exception whose message is meant for the person at the keyboard, and how it reaches them."""

import sys


class UserError(Exception):
    """Something the user asked for cannot be done.

    The message is one line that names the file, line or key, the value, and what to do.
    """


def report_error(error: Exception) -> None:
    """Print an error as one line on standard error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    print("error:", " ".join(lines), file=sys.stderr, flush=True)
