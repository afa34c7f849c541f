"""Signals that arrive while the launcher works."""

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from hydra_plugins.hydra_packed_launcher._signals import signals_at_pauses


class Asked(BaseException):
    pass


@pytest.fixture(autouse=True)
def handlers() -> Iterator[list[int]]:
    """Handlers that raise, as those of a training do; the numbers of the signals that they were called with."""
    called: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        called.append(number)
        raise Asked

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    yield called
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_waits_for_the_next_pause(handlers: list[int]) -> None:
    with pytest.raises(Asked), signals_at_pauses() as pause:
        pause(0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert handlers == []
        pause(0)
    assert handlers == [signal.SIGTERM]
    with pytest.raises(Asked):  # as before, once the context is left
        os.kill(os.getpid(), signal.SIGTERM)
        signal.sigtimedwait([], 0)


def test_a_second_signal_does_not_wait(handlers: list[int]) -> None:
    with pytest.raises(Asked), signals_at_pauses():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigtimedwait([], 0)
        pytest.fail("the second signal was kept")
    assert handlers == [signal.SIGINT]


def test_ignored_signals_and_signals_without_handlers_stay_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_at_pauses():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
