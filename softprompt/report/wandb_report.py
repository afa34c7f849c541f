"""A report's tables and figures as a Weights & Biases run of the sweep's group."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from softprompt.settings import LoggerSettings
from softprompt.wandb_run import start_wandb_run


def log_report(
    settings: LoggerSettings,
    sweep: str,
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Path],
    say: Callable[[str], None],
) -> None:
    """Log tables and figures. Without an API key they are recorded in `folder`.

    Args:
        settings: project and entity.
        sweep: the group of the W&B run.
        folder: where W&B writes its files.
        tables: by name.
        figures: PNG files by name.
        say: prints a line.

    Raises:
        UserError: W&B refuses the key.
    """
    import wandb  # not at the top, because most reports do not need it and it takes a second

    run = start_wandb_run(
        settings, say, group=sweep, job_type="analysis", name=f"{sweep}/analysis", dir=str(folder)
    )
    # W&B refuses a column with values of more than one type, so such columns are logged as text.
    as_text = {
        name: table.astype({column: str for column in table.select_dtypes("object")})
        for name, table in tables.items()
    }
    run.log({f"tables/{name}": wandb.Table(dataframe=table) for name, table in as_text.items()})
    run.log({f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items()})
    run.finish()
