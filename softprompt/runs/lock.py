"""A lock per run, so that two processes never train the same run.

On one machine, and on network file systems that pass locks on, the kernel's `flock` decides: it ends with its process,
also after `kill -9`. Some network file systems keep `flock` to each machine, or have none. So the owner also writes its
name into the file and touches it every few seconds: a lock of another machine whose file is still touched is in use.
"""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from softprompt import interruption
from softprompt.errors import InUse, UserError
from softprompt.files import machine, writing

HEARTBEAT = 10.0  # seconds between two touches of the lock's file
STALE = 60.0  # seconds without a touch after which the owner counts as dead


class RunLock:
    """A lock on a folder, as a context manager. The file `.lock` in the folder names its owner.

    Args:
        folder: made if it does not exist.
        say: is called with a line if there is something to wait for.
        heartbeat: seconds between two touches.
        stale: seconds without a touch after which an owner on another machine counts as dead.

    Raises:
        InUse: on entering, if another process has the lock.
        UserError: the file cannot be written.
    """

    def __init__(
        self, folder: Path, say: Callable[[str], None], heartbeat: float = HEARTBEAT, stale: float = STALE
    ) -> None:
        self.path = folder / ".lock"
        self.say = say
        self.heartbeat = heartbeat
        self.stale = stale
        self._descriptor: int | None = None
        self._made: list[Path] = []  # folders that did not exist
        self._released = threading.Event()

    def __enter__(self) -> "RunLock":
        with writing(self.path):
            self._made = [folder for folder in self.path.parents if not folder.exists()]
            try:
                while self._descriptor is None:
                    with interruption.deferred():  # an exception inside would leave the file open
                        self._descriptor = self._locked_file()
                    self._watch_other_owner()
                    # If the other owner released the lock in the meantime, it removed the file.
                    if not self._is_the_file(self._descriptor):
                        self._close()
                self._write_owner()
                if not self._has_flock():
                    # Another process may have written its name at the same time. Whoever wrote last owns the lock.
                    time.sleep(self.stale / 60)
                    self.check()
            except BaseException:
                self._remove_own_file()
                self._close()
                raise
        threading.Thread(target=self._touch, daemon=True, name="lock-heartbeat").start()
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock, also one that was not acquired."""
        with interruption.deferred():
            self._released.set()
            if self._owner().get("token") == self._token:
                self.path.unlink(missing_ok=True)
            self._close()
            for folder in self._made:  # innermost first; those with files in them stay
                with suppress(OSError):
                    folder.rmdir()

    def _remove_own_file(self) -> None:
        """Remove the file if it has no owner, or this one: acquiring it was interrupted."""
        if self._descriptor is None or not self._has_flock() or not self._is_the_file(self._descriptor):
            return
        if self._owner().get("token") in (None, self._token):
            self.path.unlink(missing_ok=True)

    @property
    def _token(self) -> str:
        return f"{machine()}-{os.getpid()}-{id(self)}"

    def _locked_file(self) -> int:
        """The lock's file, opened, with `flock` if the file system has it."""
        while True:
            # In the loop, because the owner before may remove a folder that it made.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise InUse(self._in_use()) from error
            except OSError:
                return descriptor  # the file system has no flock: the heartbeat decides
            if self._is_the_file(descriptor):
                return descriptor
            os.close(descriptor)  # the owner before removed this file in the meantime: take the new one

    def _is_the_file(self, descriptor: int) -> bool:
        """True if the path still leads to the opened file."""
        try:
            return os.stat(self.path).st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False

    def _watch_other_owner(self) -> None:
        """Return once the owner that the file names is known to be dead.

        With `flock` in hand, an owner on this machine is dead. One on another machine may be alive, if the file system
        does not pass locks on: then the file is touched within `stale` seconds.

        Raises:
            InUse: the owner is alive.
        """
        owner = self._owner()
        on_this_machine = owner.get("machine") == machine() and self._has_flock()
        touched = self._touched()
        if not owner or on_this_machine or touched is None or time.time() - touched > 10 * self.stale:
            return
        # Watch whether it is touched, because the clocks of two machines differ a little.
        self.say(f"{self.path}: was left by {self._who(owner)}; watching it for {self.stale:.0f} s")
        deadline = time.monotonic() + self.stale
        while time.monotonic() < deadline:
            time.sleep(min(1.0, self.stale / 10))
            if (now := self._touched()) is None:
                return  # released
            if now != touched:
                raise InUse(self._in_use())

    def _touched(self) -> float | None:
        """When the file was last touched; None if it is gone. Opened, because network file systems cache a `stat`."""
        try:
            with self.path.open("rb") as file:
                return os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None

    def check(self) -> None:
        """Check that the lock still belongs to this process, before it writes.

        Raises:
            InUse: this process stood still so long that another one counted it as dead and took the lock.
        """
        if self._descriptor is None or not self._is_the_file(self._descriptor):
            raise UserError(
                f"{self.path}: was removed, by hand or by a process that took the run over; start again"
            )
        owner = self._owner()
        if owner and owner.get("token") != self._token:
            raise InUse(f"{self._in_use()}: it took the run over while this process stood still")

    def _has_flock(self) -> bool:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _write_owner(self) -> None:
        owner = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
            "machine": machine(),
            "token": self._token,
        }
        assert self._descriptor is not None
        content = json.dumps(owner).encode()
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))
        os.fsync(self._descriptor)

    def _owner(self) -> dict[str, Any]:
        """What the file says about its owner; empty if it says nothing."""
        try:
            owner = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return owner if isinstance(owner, dict) else {}

    def _in_use(self) -> str:
        owner = self._owner()
        return f"{self.path.parent}: {self._who(owner)} has it since {owner.get('since', '?')}; wait for it, or stop it"

    @staticmethod
    def _who(owner: Mapping[str, Any]) -> str:
        return f"process {owner.get('process', '?')} on host {owner.get('host', '?')}"

    def _touch(self) -> None:
        while not self._released.wait(self.heartbeat):
            with suppress(OSError):  # removed by hand, or the file system is away for a moment
                if self._owner().get("token") == self._token:  # not a successor's file
                    os.utime(self.path)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
