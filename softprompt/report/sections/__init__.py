"""The parts of a report: each takes the study and gives tables, figures, and what they say in words."""

import re
from dataclasses import dataclass, field

import pandas as pd

from softprompt.files import sha256
from softprompt.report.drawing import Drawing


@dataclass
class Section:
    """One part of the report.

    `how` says in a sentence or two how its numbers came about; `findings` say in words what they show, the one that
    matters most first; `digest` is a table small enough to be read beside them, its cells as they are to be shown.
    """

    title: str
    how: str
    findings: list[str] = field(default_factory=list)
    digest: pd.DataFrame | None = None
    drawings: dict[str, Drawing] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


def figure_name(stem: str, variant: str) -> str:
    """`transfer` for the prompts that started from text, and `transfer_random` for others; a name for a file."""
    if variant == "text":
        return stem
    short = re.sub(r"[^A-Za-z0-9.=]+", "_", variant)
    # Two long variants, or two in other scripts, may look alike when cut and spelled so.
    plain = variant.isascii() and len(variant) <= 60
    return f"{stem}_{short if plain else f'{short[:40]}_{sha256(variant.encode())[:6]}'}"


def interval(low: float, high: float, spec: str = "+z.0f") -> str:
    """A 95% interval in brackets."""
    return f"[{low:{spec}}, {high:{spec}}]"


def spread(values: "pd.Series[float]", spec: str = ".0%") -> str:
    """The least and the greatest of some values, once where they read the same."""
    low, high = f"{values.min():{spec}}", f"{values.max():{spec}}"
    return low if low == high else f"{low} to {high}"
