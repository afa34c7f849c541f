"""Lines on a terminal."""

from rich.console import Console


def say(console: Console, text: str) -> None:
    """Print a line as it is: no colours, no line breaks, no markup."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def duration(seconds: float) -> str:
    """`47 s`, `3:05` or `1:02:30`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
