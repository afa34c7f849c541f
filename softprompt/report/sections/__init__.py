"""The parts of a report: each takes the study and gives tables, figures, and what they say in words."""

from dataclasses import dataclass, field

import pandas as pd

from softprompt.report.drawing import Drawing


@dataclass
class Section:
    """One part of the report.

    `how` says in a sentence or two how its numbers came about; `findings` say in words what they show.
    """

    title: str
    how: str
    findings: list[str] = field(default_factory=list)
    drawings: dict[str, Drawing] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
