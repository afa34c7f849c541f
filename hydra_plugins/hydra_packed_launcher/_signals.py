"""Signals that arrive while the launcher works take effect when it pauses.

Handlers of signals often raise. An exception in the middle of a library's work can leave the library's objects half
changed; its clean-up then fails with an error of its own, which hides that the process was asked to end.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def signals_at_pauses() -> Iterator[Callable[[float], None]]:
    """Yield a `sleep` that calls the handlers of the signals that have arrived; elsewhere in the context none is called.

    A second signal that arrives before a pause is handled at once, so that a second Ctrl-C is never held up.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread only
        yield time.sleep
        return
    arrived: list[signal.Signals] = []
    before: dict[signal.Signals, Callable[[int, FrameType | None], Any]] = {}

    def keep(number: int, frame: FrameType | None) -> None:
        arrived.append(signal.Signals(number))
        if len(arrived) > 1:
            before[arrived[-1]](number, frame)

    def pause(seconds: float) -> None:
        time.sleep(seconds)
        while arrived:
            number = arrived.pop(0)
            before[number](number, None)

    for number in signal.Signals:
        handler = signal.getsignal(number)
        if callable(handler):  # SIG_DFL and SIG_IGN are not
            before[number] = handler
    try:
        for number in before:
            signal.signal(number, keep)
        yield pause
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
