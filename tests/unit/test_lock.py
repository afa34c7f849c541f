"""One process has a run, dead owners are replaced, and owners on another machine are told by their heartbeat."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from softprompt import interruption
from softprompt.errors import InUse, UserError
from softprompt.runs.lock import RunLock

HOLD = "import sys, time; from pathlib import Path; from softprompt.runs.lock import RunLock\nwith RunLock(Path(sys.argv[1]), print):\n    print('has it', flush=True); time.sleep(60)"


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that has the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "has it\n"
    return process


def other_machine(folder: Path) -> Path:
    """A lock's file that a process on another machine wrote."""
    path = folder / ".lock"
    owner = {
        "process": 17,
        "host": "node7",
        "since": "2026-01-01 12:00:00+00:00",
        "machine": "0" * 8,
        "token": "x",
    }
    path.write_text(json.dumps(owner))
    return path


def test_the_file_is_there_only_while_the_lock_is_held(tmp_path: Path) -> None:
    with RunLock(tmp_path / "new" / "run", print):
        owner = json.loads((tmp_path / "new" / "run" / ".lock").read_text())
        assert owner["process"] == os.getpid()
    assert not list(tmp_path.iterdir())  # nor is the folder that was made for it


def test_a_second_process_is_told_who_has_it(tmp_path: Path) -> None:
    process = hold(tmp_path)
    with (
        pytest.raises(
            UserError,
            match=rf"^{tmp_path}: process {process.pid} on host .+ has it since 2.+; wait for it, or stop it$",
        ),
        RunLock(tmp_path, print),
    ):
        pass
    process.kill()
    process.wait()
    with RunLock(tmp_path, print):  # at once, although the dead process left its file
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()


def test_an_owner_on_another_machine_that_is_alive_keeps_it(tmp_path: Path) -> None:
    path = other_machine(tmp_path)
    beating = threading.Event()

    def beat() -> None:
        while not beating.wait(0.05):
            os.utime(path)

    threading.Thread(target=beat, daemon=True).start()
    with (
        pytest.raises(UserError, match="process 17 on host node7 has it since 2026-01-01"),
        RunLock(tmp_path, print, stale=1.0),
    ):
        pass
    beating.set()


@pytest.mark.parametrize("age", [0, 3600])
def test_an_owner_on_another_machine_that_is_dead_is_replaced(tmp_path: Path, age: int) -> None:
    path = other_machine(tmp_path)
    os.utime(path, (time.time() - age, time.time() - age))
    before = time.monotonic()
    with RunLock(tmp_path, print, stale=1.0) as lock:
        waited = time.monotonic() - before
        assert (waited >= 1.0) == (age == 0)  # long dead: no need to watch
        lock.check()


def test_without_flock_the_heartbeat_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_flock(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_flock)
    with RunLock(tmp_path, print, heartbeat=0.05, stale=1.0), pytest.raises(UserError, match="has it since"):  # noqa: SIM117
        with RunLock(tmp_path, print, stale=1.0):
            pass


def test_an_owner_that_was_replaced_while_it_stood_still_stops(tmp_path: Path) -> None:
    with RunLock(tmp_path, print) as lock:
        lock.check()
        other_machine(tmp_path)
        with pytest.raises(
            UserError, match=r"process 17 on host node7 has it .*took the run over while this process"
        ):
            lock.check()
    assert (tmp_path / ".lock").exists()  # it is the other one's


def test_an_owner_whose_successor_has_finished_stops_too(tmp_path: Path) -> None:
    with RunLock(tmp_path, print) as lock:
        (tmp_path / ".lock").unlink()
        with pytest.raises(
            UserError, match=r"\.lock: was removed, by hand or by a process that took the run over"
        ):
            lock.check()


def test_the_file_is_touched(tmp_path: Path) -> None:
    with RunLock(tmp_path, print, heartbeat=0.02):
        seen = (tmp_path / ".lock").stat().st_mtime_ns
        time.sleep(0.3)
        assert (tmp_path / ".lock").stat().st_mtime_ns > seen


@pytest.mark.parametrize("step", ["_watch_other_owner", "_write_owner", "_has_flock"])
def test_an_interrupted_acquisition_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A signal may raise at any point but in `_locked_file`, where it waits."""
    lock = RunLock(tmp_path / "run", print)
    with monkeypatch.context() as patch:
        original, calls = getattr(RunLock, step), []

        def interrupted(self: RunLock, *arguments: object) -> object:
            calls.append(step)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return original(self, *arguments)

        patch.setattr(RunLock, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock.__enter__()
        lock.__exit__()
    assert not list(tmp_path.iterdir())


def test_an_interrupted_acquisition_leaves_the_owners_file(tmp_path: Path) -> None:
    process = hold(tmp_path)
    lock = RunLock(tmp_path, print)
    with pytest.raises(InUse):
        lock.__enter__()
    lock.__exit__()
    assert json.loads((tmp_path / ".lock").read_text())["process"] == process.pid
    process.kill()
    process.wait()


def test_a_signal_during_the_release_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "_received", None)
    before = signal.getsignal(signal.SIGHUP)
    interruption.listen(take=[signal.SIGHUP])
    try:
        with RunLock(tmp_path / "run", print) as lock:
            original = lock._owner

            def signalled() -> dict[str, object]:
                signal.raise_signal(signal.SIGHUP)
                return original()

            lock._owner = signalled  # type: ignore[method-assign]
        assert interruption.received() == signal.SIGHUP
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not list(tmp_path.iterdir())
