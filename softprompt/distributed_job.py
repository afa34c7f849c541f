"""A sweep's job on several devices, as a command of its own.

Lightning starts the processes of the other devices by calling the command again. For a sweep that would be the whole
sweep, so each of its jobs is called as a single run.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

from softprompt import interruption
from softprompt.errors import InUse, UserError

CONFIG_OPTIONS = ("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")


def run_as_own_command(overrides: Sequence[str]) -> None:
    """Call this command with these overrides, without `-m`, and wait until it ends.

    A signal to this process is passed on. The job's output appears in this process's output.

    Raises:
        InUse: another process trains the run.
        UserError: the job failed. The message is the last error on its standard error.
        Interrupted: a signal asked this process to end.
    """
    # As a module, because under submitit the script of this process is submitit's.
    command = [
        sys.executable,
        "-m",
        "softprompt.commands",
        *_config_options(sys.argv[1:]),
        *overrides,
        "hydra.mode=RUN",
    ]
    # Lightning takes a task of a Slurm job for one of several that Slurm has started for it.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    packages = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    with interruption.deferred():
        # In a session of its own, so that Ctrl-C on the terminal reaches it once, through this process.
        job = subprocess.Popen(
            command,
            env={**inherited, "PYTHONPATH": packages},
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

        def pass_on(number: int) -> None:
            number = signal.SIGUSR1 if number == signal.SIGUSR2 else number  # which the job would not handle
            with suppress(ProcessLookupError):
                # The job's first process tells the others, unless all are to end at once.
                (os.killpg if number == signal.SIGKILL else os.kill)(job.pid, number)

        interruption.pass_on_to(pass_on)
        if early := interruption.received():
            pass_on(early)
        assert job.stderr is not None
        errors = _ErrorOutput(job.stderr)
        errors.start()
        try:
            code = job.wait()
        finally:
            interruption.pass_on_to(None)
            pass_on(
                signal.SIGKILL
            )  # processes of other devices that are left, which keep standard error open
            errors.join()
    interruption.raise_if_received()
    if code == InUse.EXIT_CODE:
        raise InUse(errors.message)
    if code:
        raise UserError(errors.message or f"the run ended with exit code {code}")
    if errors.message:
        print(f"error: {errors.message}", file=sys.stderr)


class _ErrorOutput(Thread):
    """Prints a job's standard error, except the error that it ends with, which is kept in `message`."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.message = ""

    def run(self) -> None:
        for line in self.stream:
            if line.startswith("error: "):
                self.message = line.removeprefix("error: ").strip()
            elif not interruption.received():  # after a signal only this process prints how to resume
                print(line, end="", file=sys.stderr, flush=True)


def _config_options(arguments: Sequence[str]) -> Iterator[str]:
    """Hydra's options that say where the configuration is."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in CONFIG_OPTIONS:
            yield from (argument, following)
        elif argument.startswith(tuple(f"{option}=" for option in CONFIG_OPTIONS)):
            yield argument
