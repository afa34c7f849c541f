"""SIGTERM, SIGINT (Ctrl-C), SIGHUP and SIGUSR1 end a command cleanly, between two steps.

SIGTERM is what `kill` and schedulers send; SIGHUP is what a lost connection sends, unless `nohup` is used; SIGUSR1 is what Slurm sends with `--signal=USR1@60` before its time limit.
While a model computes, a signal only sets a flag, which the training loop polls. At other times it raises at once, perhaps in
the middle of a library's work, so any error after that is taken for the interruption.
The exit code is 128 + the signal's number, as in a shell: 143 for SIGTERM, 130 for Ctrl-C.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)

_received: signal.Signals | None = None
_ending: "Interrupted | None" = None
_deferred = 0  # how many `deferred` contexts are open
_pass_on: Callable[[int], None] | None = None  # sends a signal to a process that works for this one


class Interrupted(SystemExit):
    """A signal asked this process to end. Not an `Exception`, so that no handler of errors takes it for one.

    Of several devices' processes all but the first end with exit code 0 (`quiet`), because Lightning kills the first one,
    which may still be saving, as soon as another one fails.
    """

    def __init__(self, received: signal.Signals, quiet: bool = False) -> None:
        super().__init__(0 if quiet else 128 + received)
        self.signal = received
        self.quiet = quiet

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[signal.Signals, bool]]:
        """Joblib sends the exception from one process to another."""
        return Interrupted, (self.signal, self.quiet)

    def __str__(self) -> str:
        return f"stopped by {self.signal.name}; the same command goes on from here"


def listen(take: Sequence[signal.Signals] = ()) -> None:
    """Handle the signals from now on, except those that another library handles. Only a main thread can do this.

    Args:
        take: signals to handle even if another library handles them.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in {*SIGNALS, *take}:
        if number in take or signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _handle)


def retake_handlers() -> None:
    """Take the handlers back that Lightning's Trainer replaced.

    Its own handler of SIGTERM communicates with the other devices inside the handler, which can hang, and ends with
    exit code 0.
    """
    if threading.current_thread() is threading.main_thread() and _wraps_our_handler(
        signal.getsignal(signal.SIGTERM)
    ):
        signal.signal(signal.SIGTERM, _handle)


def received() -> signal.Signals | None:
    """The signal that asked this process to end, if there was one."""
    return _received


def raise_if_received(quiet: bool = False) -> None:
    """End the process if a signal asked for it.

    Args:
        quiet: see `Interrupted`.

    Raises:
        Interrupted: a signal was received.
    """
    if _received is not None:
        end(_received, quiet)


def end(received: signal.Signals, quiet: bool = False) -> NoReturn:
    """Raise the interruption that ends this process, and remember it for `ending`.

    Args:
        received: the signal.
        quiet: see `Interrupted`.

    Raises:
        Interrupted: always.
    """
    global _ending
    _ending = Interrupted(received, quiet)
    raise _ending


def ending() -> Interrupted | None:
    """The interruption that this process is ending with, if one was raised.

    A library whose work it stops half way may hide it: its clean-up fails with an error of its own, or it takes the
    exception for a module that cannot be imported.
    """
    return _ending


def raise_if_ending() -> None:
    """Call this where an error would count as the failure of one run and others would go on.

    Raises:
        Interrupted: one was raised before.
    """
    if _ending is not None:
        raise _ending


@contextmanager
def deferred() -> Iterator[None]:
    """Inside the context a signal does not raise; call `raise_if_received` where it is safe to end."""
    global _deferred
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1


def pass_on_to(send: Callable[[int], None] | None) -> None:
    """Call `send` with the number of every signal that is received, until this is called with None."""
    global _pass_on
    _pass_on = send


def defer_to_first_process() -> None:
    """Never raise at a signal by itself: for a process of a second device, which must end together with the first."""
    global _deferred
    _deferred += 1


def _handle(number: int, frame: FrameType | None) -> None:
    global _received
    if _received is not None and number == signal.SIGINT:  # a second Ctrl-C
        if _pass_on:
            _pass_on(signal.SIGKILL)
        os._exit(128 + number)  # every file is whole at any time
    _received = signal.Signals(number)
    if _pass_on:
        _pass_on(number)
    if not _deferred:
        end(_received)


def _wraps_our_handler(handler: object) -> bool:
    return _handle in (getattr(handler, "signal_handlers", None) or ())
