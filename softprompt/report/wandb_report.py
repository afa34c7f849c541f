"""A report on Weights & Biases: tables, figures and the page, as one run of the sweep's group."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from softprompt.settings import LoggerSettings
from softprompt.wandb_run import start_wandb_run

PAGE = "report.html"


def log_report(
    settings: LoggerSettings,
    sweep: str,
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Path],
    say: Callable[[str], None],
) -> None:
    """Log tables and figures, and the whole report as an artifact. Without an API key they are recorded in `folder`.

    Args:
        settings: project and entity.
        sweep: the group of the W&B run.
        folder: the report's, where W&B writes its files, too.
        tables: by name.
        figures: PNG files by name.
        say: prints a line.

    Raises:
        UserError: W&B refuses the key.
    """
    import wandb  # not at the top, because most reports do not need it and it takes a second

    run = start_wandb_run(
        settings,
        say,
        group=sweep,
        job_type="analysis",
        name=f"{sweep}/analysis",
        id=f"{sweep}-analysis",
        tags=["analysis", *settings.tags],
        resume="allow",  # analysing a sweep again goes on in the same run
        dir=str(folder),
    )
    # W&B refuses a column with values of more than one type, so such columns are logged as text.
    as_text = {
        name: table.astype({column: str for column in table.select_dtypes("object")})
        for name, table in tables.items()
    }
    media = {f"tables/{name}": wandb.Table(dataframe=table) for name, table in as_text.items()}
    run.log(media | {f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items()})
    report = wandb.Artifact(f"{sweep}-report", type="report")
    report.add_file(str(folder / PAGE))
    for part in ("tables", "figures"):
        report.add_dir(str(folder / part), part)
    run.log_artifact(report)
    run.finish()
