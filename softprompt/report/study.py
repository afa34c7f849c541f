"""From the finished runs of a sweep to its tables, on screen and as CSV."""

from pathlib import Path

import pandas as pd
from rich.console import Console

from softprompt.analysis.neighbours import neighbour_table
from softprompt.analysis.scores import score_table
from softprompt.backbone import load_backbone
from softprompt.files import write_atomically
from softprompt.report.terminal import neighbour_screen, score_screen
from softprompt.run import FinishedRun, find_runs
from softprompt.settings import AnalysisSettings


def write_report(settings: AnalysisSettings, console: Console) -> None:
    """Print and save the score table and the nearest tokens of every finished run under a folder.

    Raises:
        UserError: there is no finished run, or a run's files or its model cannot be read.
    """
    folder = Path(settings.sweep)
    runs = find_runs(folder)
    scores = score_table([run.result for run in runs])
    console.print(score_screen(scores))
    neighbours = pd.concat([_neighbours(run, settings.neighbours, console) for run in runs])
    tables = folder / "analysis" / "tables"
    for name, table in {"scores": scores, "neighbours": neighbours}.items():
        write_atomically(tables / f"{name}.csv", table.to_csv(index=False))
        console.print(f"{tables / name}.csv", highlight=False, soft_wrap=True, markup=False)


def _neighbours(run: FinishedRun, k: int, console: Console) -> pd.DataFrame:
    backbone = load_backbone(run.settings.model, "cpu")  # kept while the model stays the same
    prompt = run.prompt()

    def text_of(token: int) -> str:
        text = str(backbone.tokenizer.decode([token]))
        # A part of a character decodes to nothing readable; its name in the vocabulary says more.
        return str(backbone.tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text or not text else text

    table = neighbour_table(prompt.matrix, prompt.initial_tokens, backbone.embedding_table(), text_of, k)
    console.print(neighbour_screen(f"{prompt.task}/{run.path.name}", table))
    table.insert(0, "run", run.path.name)
    table.insert(0, "task", prompt.task)
    return table
