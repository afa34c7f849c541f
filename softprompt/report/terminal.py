"""Tables for the terminal."""

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table


def score_screen(scores: pd.DataFrame) -> Table:
    """What `task_table` returns, in percent; 95% is the interval of the tuned prompts' mean."""
    table = Table(title="Exact match on validation, %", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", no_wrap=True)
    table.add_column("from", min_width=10)  # may be long: wrapped, so that the numbers are whole
    for name in ("majority", "no prompt", "instruction", "tuned", "95%", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in scores.to_dict("records"):
        shares = [f"{100 * row[name]:.1f}" for name in ("majority", "no_prompt", "instruction", "tuned")]
        interval = f"{100 * row['low']:.0f}–{100 * row['high']:.0f}"
        table.add_row(row["task"], row["variant"], *shares, interval, str(row["n"]))
    return table
