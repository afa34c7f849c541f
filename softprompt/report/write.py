"""From the finished runs of a sweep to its report: tables, figures, one page."""

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from softprompt.console import say
from softprompt.files import write_atomically
from softprompt.report.page import render_page
from softprompt.report.provenance import in_short, provenance
from softprompt.report.sections import Section
from softprompt.report.sections.ablation import attribution, discretised
from softprompt.report.sections.difficulty import difficulty
from softprompt.report.sections.geometry import norms, projection
from softprompt.report.sections.neighbours import neighbours
from softprompt.report.sections.precision import calibration
from softprompt.report.sections.scores import scores
from softprompt.report.sections.similarity import similarity
from softprompt.report.sections.transfer import transfer
from softprompt.report.terminal import score_screen
from softprompt.report.wandb_report import log_report
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

# By the names that `parts` asks for them with. A part may find that it has nothing to say.
PARTS: dict[str, Callable[[Study, AnalysisSettings], Section | None]] = {
    "scores": lambda study, settings: scores(study),
    "neighbours": neighbours,
    "calibration": calibration,
    "attribution": attribution,
    "discretised": lambda study, settings: discretised(study),
    "tsne": projection,
    "norms": norms,
    "difficulty": difficulty,
    "transfer": lambda study, settings: transfer(study),
    "similarity": similarity,
}


def write_report(settings: AnalysisSettings, console: Console) -> None:
    """Write `<sweep>/analysis`: tables as CSV, figures as PNG and PDF, report.html, analysis.json.

    Raises:
        UserError: there is no finished run, or a run's files, its data or its model cannot be read.
    """
    study = Study(Path(settings.sweep), console)
    folder = study.folder / "analysis"
    sections: list[Section] = []
    for name in settings.parts or PARTS:
        with console.status(f"{name} ..."):
            if (section := PARTS[name](study, settings)) is None:
                continue
            sections.append(section)
            for table_name, table in section.tables.items():
                write_atomically(folder / "tables" / f"{table_name}.csv", table.to_csv(index=False))
            for drawing_name, drawing in section.drawings.items():
                drawing.save(folder / "figures", drawing_name)
        if "scores" in section.tables:
            console.print(score_screen(section.tables["scores_by_task"]))
        else:
            say(console, f"{section.title}: {next(iter(section.findings), section.how)}")
    about = provenance(study, settings, sections)
    write_atomically(folder / "analysis.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    title = f"What the prompts of “{study.folder.name}” learned"
    page = render_page(title, lead(study), sections, in_short(about))
    write_atomically(folder / "report.html", page)
    if study.settings.logger.name == "wandb":
        tables = {name: table for section in sections for name, table in section.tables.items()}
        figures = {
            name: folder / "figures" / f"{name}.png" for section in sections for name in section.drawings
        }
        log_report(study.settings.logger, study.settings.sweep, folder, tables, figures)
    say(console, f"report: {folder / 'report.html'}")


def lead(study: Study) -> str:
    """What was done, in a sentence."""
    tasks = list(dict.fromkeys(study.labels["task"]))
    starts = list(dict.fromkeys(study.labels["variant"]))
    return (
        f"{len(study.runs)} soft prompts in front of {study.settings.model.id}, which is frozen: "
        f"{', '.join(tasks)}; from {' and '.join(starts)}."
    )
