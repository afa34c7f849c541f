"""What a person sees of a sweep: a line per job that ends, and on a terminal a table of the jobs in training."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

ROWS = 20  # jobs in training that the table shows


@dataclass
class JobState:
    """What the launcher knows about a job. `state`: waiting, training, done, failed, or in use (by another launcher)."""

    label: str
    state: str = "waiting"
    worker: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    killed: int = 0  # workers that were killed while they trained it

    @property
    def settled(self) -> bool:
        return self.state in ("done", "failed")

    @property
    def before(self) -> bool:
        """True if it was done before this launcher started."""
        return self.state == "done" and bool(self.details.get("before"))

    @property
    def share(self) -> float:
        """The share of the job's steps that it has taken; early stopping may end it sooner."""
        steps = self.details.get("steps")
        return min(1.0, self.details.get("step", 0) / steps) if self.state == "training" and steps else 0.0


class Display:
    """Prints a line for every job that ends; on a terminal, a table below these lines."""

    def __init__(self, states: Mapping[int, JobState], console: Console | None = None) -> None:
        self.states = states
        self.console = console or Console(highlight=False)
        self.started = time.monotonic()
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._drawn_at = 0.0 if self.console.is_terminal else self.started

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self.console.print(Text(text), soft_wrap=True)

    def ended(self, state: JobState) -> None:
        """Print that a job has ended."""
        if not state.before:
            settled = sum(other.settled for other in self.states.values())
            what = (
                state.details.get("summary")
                if state.state == "done"
                else f"FAILED: {state.details.get('reason')}"
            )
            self.say(f"[{settled}/{len(self.states)}] {state.label}: {what or 'done'}")

    def draw(self) -> None:
        """Draw the table, at most twice a second. If this is no terminal, print the counts once a minute."""
        interval = 0.5 if self.console.is_terminal else 60.0
        if time.monotonic() - self._drawn_at < interval:
            return
        self._drawn_at = time.monotonic()
        if self.console.is_terminal:
            self._live.update(self.table(), refresh=True)
        else:
            self.say(self.headline())

    def table(self) -> Group:
        """The counts, and the jobs in training."""
        training = [state for state in self.states.values() if state.state == "training"]
        rows = min(ROWS, max(3, self.console.height - 8))
        table = Table(box=None, pad_edge=False)
        for name in ("run", "epoch", "step", "loss", "exact match", "time", "left, at most"):
            table.add_column(name, justify="left" if name == "run" else "right", no_wrap=True)
        for state in training[:rows]:
            table.add_row(*_row(state))
        more = (
            [Text(f"and {len(training) - rows} more in training", style="dim")]
            if len(training) > rows
            else []
        )
        return Group(Text(self.headline()), *([table] if training else []), *more)

    def headline(self) -> str:
        """How many jobs are in which state, and the time that is left."""
        counts = [
            (sum(state.state == name for state in self.states.values()), name)
            for name in ("done", "failed", "training", "in use", "waiting")
        ]
        told = [f"{count} {name}" for count, name in counts if count or name == "done"]
        elapsed = time.monotonic() - self.started
        left = time_left(list(self.states.values()), elapsed)
        return f"{len(self.states)} runs: {', '.join(told)}; {clock(elapsed)}" + (
            f", about {clock(left)} left" if left is not None else ""
        )


def time_left(states: Sequence[JobState], elapsed: float) -> float | None:
    """Seconds until all jobs have ended, if they go on as fast as until now; None before anything is known."""
    ended = sum(state.settled and not state.before for state in states)
    progress = ended + sum(state.share for state in states)
    left = sum(not state.settled for state in states) - (progress - ended)
    return elapsed * left / progress if progress > 0.02 and elapsed > 5 else None


def clock(seconds: float) -> str:
    """`0:05`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _row(state: JobState) -> list[str]:
    details = state.details
    seconds, share = details.get("seconds"), state.share
    match, loss = details.get("exact_match"), details.get("loss")
    return [
        state.label,
        f"{details.get('epoch', '')}/{details.get('epochs', '')}".strip("/"),
        f"{details.get('step', '')}/{details.get('steps', '')}".strip("/"),
        "" if loss is None else f"{loss:.4f}",
        "" if match is None else f"{match:.1%}",
        "" if seconds is None else clock(seconds),
        clock(seconds * (1 - share) / share) if seconds and share else "",
    ]
