"""Atomic file writes, checksums and JSON files, and the path of the configuration folder."""

import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from softprompt.errors import UserError

CONF = Path(__file__).parent / "conf"  # in a checkout a symbolic link to the top-level folder

CHECKSUM = "checksum"  # the key of a JSON object's own checksum


class Damaged(Exception):
    """A file does not match its checksum, or belongs to another run. The message is the reason."""


def check_folder(sweep: Path) -> None:
    """Raise a `UserError` if there is no folder of this sweep."""
    if not sweep.is_dir():
        raise UserError(f"sweep={sweep}: there is no such folder")


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write to a temporary file beside `path`, flush it to disk, then rename it into place.

    A reader, or a run that resumes after `kill -9`, sees either the old content or the new, never a part of it.

    Raises:
        UserError: the file cannot be written. What was there before is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{machine()}-{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # so that the rename survives a power cut
        finally:
            os.close(directory)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside the context, an `OSError` becomes a `UserError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def remove_leftovers(folder: Path, locked: bool = False) -> None:
    """Remove temporary files in a folder whose process was killed while it wrote.

    Args:
        folder: may not exist.
        locked: True if no other process can be writing here. Otherwise only files of dead processes of this machine are
            removed.
    """
    for path in folder.glob(".*.tmp"):
        owner = re.search(r"\.([0-9a-f]{8})-(\d+)\.tmp$", path.name)
        if locked or (owner and owner[1] == machine() and not _is_running(int(owner[2]))):
            path.unlink(missing_ok=True)


@cache
def machine() -> str:
    """8 digits for where process ids mean something: this boot of this machine, and the container on it."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(os.readlink("/proc/self/ns/pid"))
    return sha256("\n".join(parts).encode())[:8]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str | None:
    """Hexadecimal SHA-256 of a file; None if it cannot be read."""
    try:
        return sha256(path.read_bytes())
    except OSError:
        return None


def seal(content: bytes, label: str) -> bytes:
    """`content` behind a line with its label and checksum. `unseal` is the inverse.

    Args:
        label: says what the content is, so that one file in the place of another is noticed. No white space.
    """
    return f"softprompt {label} {_checksum(content, label)}\n".encode() + content


def unseal(sealed: bytes, label: str) -> bytes:
    """The content that `seal` was given.

    Raises:
        Damaged: the checksum does not match, or the label is another one.
    """
    head, _, content = sealed.partition(b"\n")
    words = head.decode("utf-8", "replace").split(" ")
    if len(words) != 3 or words[0] != "softprompt" or words[2] != _checksum(content, words[1]):
        raise Damaged("its content does not match its checksum")
    if words[1] != label:
        raise Damaged(f"it belongs to {words[1]}")
    return content


def _checksum(content: bytes, label: str) -> str:
    return sha256(label.encode() + b"\n" + content)


def sealed_json(content: Mapping[str, Any]) -> str:
    """A JSON object as text, with a checksum of its own."""
    return json.dumps({**content, CHECKSUM: json_sha256(content)}, indent=2, ensure_ascii=False) + "\n"


def check_json(content: Mapping[str, Any]) -> None:
    """Check an object that was read from what `sealed_json` made.

    Raises:
        Damaged: the checksum is missing or does not match.
    """
    if content.get(CHECKSUM) != json_sha256({k: v for k, v in content.items() if k != CHECKSUM}):
        raise Damaged("its content does not match its checksum")


def json_sha256(content: object) -> str:
    """SHA-256 of plain values; the order of keys does not matter."""
    return sha256(json.dumps(content, sort_keys=True).encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that contains one JSON object.

    Raises:
        UserError: the file cannot be read, is not JSON, or is not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: should be a JSON object")
    return content
