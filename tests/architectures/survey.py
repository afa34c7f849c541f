"""Compares many architectures, each in a process of its own with limits on memory and time."""

import json
import os
import resource
import select
import signal
from collections.abc import Iterable, Iterator

import torch

from tests.architectures.compare import Outcome, compare

MEMORY = 6 * 2**30  # bytes of address space
SECONDS = 60


def survey(model_types: Iterable[str]) -> Iterator[tuple[str, Outcome]]:
    """Architectures and their outcomes. The processes are forked, so that torch is imported once."""
    torch.set_num_threads(1)
    for model_type in model_types:
        yield model_type, _in_a_process(model_type)


def _in_a_process(model_type: str) -> Outcome:
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        _child(model_type, writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        ready, _, _ = select.select([pipe], [], [], SECONDS)
        if not ready:
            os.kill(process, signal.SIGKILL)
        answer = pipe.read()
    _, status = os.waitpid(process, 0)
    if not ready:
        return Outcome("not tried", f"takes more than {SECONDS} seconds")
    if not answer:
        return Outcome("not tried", f"the process ended with status {os.waitstatus_to_exitcode(status)}")
    return Outcome(**json.loads(answer))


def _child(model_type: str, writer: int) -> None:
    """Never returns. Nothing of the parent's, like its tests' clean-up, may run here."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        outcome = compare(model_type)
    except MemoryError:
        outcome = Outcome("not tried", f"takes more than {MEMORY // 2**30} GB")
    with os.fdopen(writer, "w") as pipe:
        json.dump(vars(outcome), pipe)
    os._exit(0)
