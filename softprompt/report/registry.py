"""What a section of the report is, and the registry of all sections."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module

import pandas as pd

from softprompt.report import sections
from softprompt.report.drawing import Drawing
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


class Question(StrEnum):
    """The reference study's three questions. The page begins with them, in this order."""

    TOKENS = "What do the tokens say?"
    STABILITY = "How stable is the training?"
    TRANSFER = "What transfers, and can similarity tell?"


class Verdict(StrEnum):
    """What a sweep shows about a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "cannot be told"


@dataclass(frozen=True)
class Claim:
    """A claim of the reference study or of the literature, and what this sweep shows about it.

    Attributes:
        question: where it stands on the page.
        says: the claim, one sentence.
        verdict: whether it holds here.
        evidence: the numbers, each with its interval, and what chance or untrained prompts would show.
        drawing: the name of the section's figure that shows it; None if there is none.
    """

    question: Question
    says: str
    verdict: Verdict
    evidence: str
    drawing: str | None = None


@dataclass
class Section:
    """One section of the page.

    Attributes:
        title: its heading.
        how: how the numbers were computed, in a few sentences.
        findings: what the numbers show, one statement each, the most important first.
        claims: claims that the section decides. They are shown at the top of the page.
        digest: a small table beside the findings, its cells formatted.
        drawings: figures by file name. The first is always shown, the others on demand.
        tables: tables by file name.
        names_spaces: True if it mentions the raw space or the model input. The page explains these in the first such
            section.
    """

    title: str
    how: str
    findings: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    digest: pd.DataFrame | None = None
    drawings: dict[str, Drawing] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    names_spaces: bool = False


# Returns None if the sweep has nothing to show in this section.
MakeSection = Callable[[Study, AnalysisSettings], Section | None]

_places: dict[str, tuple[int, MakeSection]] = {}


def section(
    place: int, needs_list: bool = False, needs_rows: bool = True
) -> Callable[[MakeSection], MakeSection]:
    """Register a function as a section of the report; its name is the name of the part (`parts` in conf/analyze.yaml).

    Args:
        place: sections are ordered by it. The places have gaps, so that a section can be put between two others.
        needs_list: it compares prompts by the answers in the tasks' lists, and is left out if a task's answers are free text.
        needs_rows: it reads the rows of prompts, and is left out if all runs are of method=prefix.
    """

    def register(function: MakeSection) -> MakeSection:
        make = _unless_free_text(function) if needs_list else function
        _places[function.__name__] = place, _unless_prefixes(function.__name__, make) if needs_rows else make
        return function

    return register


def _unless_free_text(function: MakeSection) -> MakeSection:
    """The section, or, if a task's answers are free text, a sentence in its place."""

    def make(study: Study, settings: AnalysisSettings) -> Section | None:
        if not (tasks := study.free_text_tasks):
            return function(study, settings)
        return Section(
            _title(function.__name__),
            f"Left out, because this section compares prompts by a fixed list of answers, and the answers of {', '.join(tasks)} "
            "are free text. Tasks with a list of answers can be analysed in a sweep of their own.",
        )

    return make


def _unless_prefixes(name: str, make_section: MakeSection) -> MakeSection:
    """The section, or, if the study holds prefixes, a sentence in its place."""

    def make(study: Study, settings: AnalysisSettings) -> Section | None:
        if not study.holds_prefixes:
            return make_section(study, settings)
        return Section(
            _title(name),
            "Left out, because all runs are of method=prefix: keys and values of layers are in no space of tokens.",
        )

    return make


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def all_sections() -> dict[str, MakeSection]:
    """The functions registered in `softprompt/report/sections/`, by name, in the order of the page."""
    for module in pkgutil.iter_modules(sections.__path__):
        import_module(f"{sections.__name__}.{module.name}")
    ordered = sorted(_places.items(), key=lambda item: item[1][0])
    return {name: function for name, (_, function) in ordered}
