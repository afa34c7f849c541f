"""What a section of the report is, and the registry of all sections."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

import pandas as pd

from softprompt.report import sections
from softprompt.report.drawing import Drawing
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


@dataclass
class Section:
    """One section of the page.

    Attributes:
        title: its heading.
        how: how the numbers were computed, in a few sentences.
        findings: what the numbers show, one statement each, the most important first.
        digest: a small table beside the findings, its cells formatted.
        drawings: figures by file name.
        tables: tables by file name.
        names_spaces: True if it mentions the raw space or the model input. The page explains these in the first such
            section.
    """

    title: str
    how: str
    findings: list[str] = field(default_factory=list)
    digest: pd.DataFrame | None = None
    drawings: dict[str, Drawing] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    names_spaces: bool = False


# Returns None if the sweep has nothing to show in this section.
MakeSection = Callable[[Study, AnalysisSettings], Section | None]

_places: dict[str, tuple[int, MakeSection]] = {}


def section(place: int) -> Callable[[MakeSection], MakeSection]:
    """Register a function as a section of the report; its name is the name of the part (`parts` in conf/analyze.yaml).

    Args:
        place: sections are ordered by it. The places have gaps, so that a section can be put between two others.
    """

    def register(function: MakeSection) -> MakeSection:
        _places[function.__name__] = place, function
        return function

    return register


def all_sections() -> dict[str, MakeSection]:
    """The functions registered in `softprompt/report/sections/`, by name, in the order of the page."""
    for module in pkgutil.iter_modules(sections.__path__):
        import_module(f"{sections.__name__}.{module.name}")
    ordered = sorted(_places.items(), key=lambda item: item[1][0])
    return {name: function for name, (_, function) in ordered}
