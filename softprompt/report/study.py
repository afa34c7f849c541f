"""From the finished runs of a sweep to its tables, on screen and as CSV."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console

from softprompt.analysis.neighbours import neighbour_table
from softprompt.analysis.scores import score_table
from softprompt.backbone import load_backbone
from softprompt.files import write_atomically
from softprompt.progress import say
from softprompt.report.terminal import neighbour_screen, score_screen
from softprompt.run import FinishedRun, find_runs
from softprompt.settings import AnalysisSettings, ModelSettings


def write_report(settings: AnalysisSettings, console: Console) -> None:
    """Print and save the score table and the nearest tokens of every finished run under a folder.

    Raises:
        UserError: there is no finished run, or a run's files or its model cannot be read.
    """
    folder = Path(settings.sweep)
    tables = folder / "analysis" / "tables"
    runs = find_runs(folder)
    scores = score_table([run.result for run in runs])
    console.print(score_screen(scores))
    _save(scores, tables / "scores.csv", console)
    by_model = groupby(sorted(runs, key=lambda run: repr(run.settings.model)), lambda run: run.settings.model)
    neighbours = [
        table
        for model, group in by_model
        for table in _neighbours(model, group, settings.neighbours, console)
    ]
    _save(pd.concat(neighbours), tables / "neighbours.csv", console)


def _save(table: pd.DataFrame, path: Path, console: Console) -> None:
    write_atomically(path, table.to_csv(index=False))
    say(console, str(path))


def _neighbours(
    model: ModelSettings, runs: Iterable[FinishedRun], k: int, console: Console
) -> Iterator[pd.DataFrame]:
    """The neighbour table of every run of one model, printed as it comes."""
    backbone = load_backbone(model, torch.float32)
    embeddings = backbone.embedding_table()

    def text_of(token: int) -> str:
        text = str(backbone.tokenizer.decode([token]))
        # A part of a character decodes to nothing readable; its name in the vocabulary says more.
        return str(backbone.tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text or not text else text

    for run in runs:
        prompt = run.prompt()
        table = neighbour_table(prompt.matrix, prompt.initial_tokens, embeddings, text_of, k)
        console.print(neighbour_screen(f"{prompt.task}/{run.path.name}", table))
        table.insert(0, "run", run.path.name)
        table.insert(0, "task", prompt.task)
        yield table
