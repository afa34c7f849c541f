"""Writes the report on a sweep: tables, figures, one page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from softprompt import interruption
from softprompt.console import say
from softprompt.errors import UserError
from softprompt.files import read_json, remove_leftovers, write_atomically
from softprompt.report.page import render_page
from softprompt.report.provenance import provenance, provenance_summary
from softprompt.report.registry import MakeSection, Section, all_sections
from softprompt.report.terminal import score_screen
from softprompt.report.wandb_report import PAGE, log_report
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


def write_report(settings: AnalysisSettings, console: Console) -> None:
    """Write `<sweep>/analysis`: tables as CSV, figures as PNG and PDF, report.html, analysis.json.

    Raises:
        UserError: there is no such part, no finished run, or a run's files, its data or its model cannot be read.
    """
    parts = _parts(settings)
    study = Study(Path(settings.sweep), console, settings)
    folder = study.folder / "analysis"
    for place in (folder, folder / "tables", folder / "figures", folder / "cache"):
        remove_leftovers(place)
    sections: list[Section] = []
    for name, make_section in parts.items():
        interruption.raise_if_received()  # if a library swallowed the exception of the signal's handler
        with console.status(f"{name} ..."):
            section = make_section(study, settings)
            if section is None:
                continue
            sections.append(section)
            _write_files(folder, section)
        if name == "scores":
            console.print(score_screen(section.tables["scores_by_task"]))
        for claim in section.claims:
            say(console, f"{claim.verdict.value + ':':16}{claim.says}")
    about = provenance(study, settings, sections)
    _remove_older_files(folder, about)
    write_atomically(folder / "analysis.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    title = f"Soft prompts of “{study.folder.name}”"
    page = render_page(title, _lead(study), sections, provenance_summary(about))
    write_atomically(folder / PAGE, page)
    logger = settings.logger or study.settings.logger
    if logger.name == "wandb":
        tables = {name: table for section in sections for name, table in section.tables.items()}
        figures = {
            name: folder / "figures" / f"{name}.png" for section in sections for name in section.drawings
        }
        log_report(
            logger,
            study.settings.sweep,
            folder,
            tables,
            figures,
            lambda text: say(console, text),
        )
    say(console, f"report: {folder / 'report.html'}")


def _parts(settings: AnalysisSettings) -> Mapping[str, MakeSection]:
    """The sections to make: `settings.parts` in this order, or all in the order of the page."""
    known = all_sections()
    names = settings.parts or list(known)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"parts={unknown[0]!r}: there is no such part; the parts are {', '.join(known)}")
    return {name: known[name] for name in names}


def _write_files(folder: Path, section: Section) -> None:
    for name, table in section.tables.items():
        write_atomically(folder / "tables" / f"{name}.csv", table.to_csv(index=False))
    for name, drawing in section.drawings.items():
        drawing.save(folder / "figures", name)


def _remove_older_files(folder: Path, about: Mapping[str, Any]) -> None:
    """Remove tables and figures that an earlier report in this folder lists, and this one does not have."""
    try:
        earlier = read_json(folder / "analysis.json")
        places = [("tables", ".csv"), ("figures", ".png"), ("figures", ".pdf")]
        for group, ending in places:
            now = {name for names in about[group].values() for name in names}
            for name in {name for names in earlier[group].values() for name in names} - now:
                path = folder / group / f"{name}{ending}"
                if path.parent == folder / group:
                    path.unlink(missing_ok=True)
    except (UserError, KeyError, AttributeError, TypeError, OSError):
        return  # there was no earlier report


def _lead(study: Study) -> str:
    """One sentence on what was trained."""
    tasks = list(dict.fromkeys(study.labels["task"]))
    variants = list(dict.fromkeys(study.labels["variant"]))
    return (
        f"{len(study.runs)} soft prompts, tuned in front of the frozen model {study.settings.model.id} on "
        f"{', '.join(tasks)}. Initialised from: {'; '.join(variants)}."
    )
