"""Lines on a terminal."""

import re

from rich.console import Console

# Also halves of surrogate pairs, and what XML does not allow.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def say(console: Console, text: str) -> None:
    """Print a line as it is: no colours, no line breaks, no markup."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def show_control_characters(text: str) -> str:
    """`text` with control characters, which no page or terminal can show, as `\\x01`. Line ends and tabs stay."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def duration(seconds: float) -> str:
    """`47 s`, `3:05` or `1:02:30`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
