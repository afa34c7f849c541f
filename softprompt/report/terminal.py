"""Tables on a terminal."""

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def score_screen(scores: pd.DataFrame) -> Table:
    """The score table in percent: exact match on validation, with the 95% interval of the tuned prompt's."""
    table = Table(title="Exact match on validation, %", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "init"):
        table.add_column(name)
    for name in ("seed", "majority", "no prompt", "instruction", "tuned", "95%", "n"):
        table.add_column(name, justify="right")
    for row in scores.to_dict("records"):
        shares = [f"{100 * row[name]:.1f}" for name in ("majority", "no_prompt", "instruction", "tuned")]
        interval = f"{100 * row['low']:.0f}–{100 * row['high']:.0f}"
        table.add_row(row["task"], row["init"], str(row["seed"]), *shares, interval, str(row["n"]))
    return table


def neighbour_screen(title: str, neighbours: pd.DataFrame) -> Table:
    """One line per prompt row: what it started as, and its nearest tokens with their cosines."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    ranks = sorted(neighbours["rank"].unique())
    for name in ("row", "started as", *(f"nearest {rank}" if rank > 1 else "nearest" for rank in ranks)):
        table.add_column(name)
    for number, group in neighbours.groupby("row"):
        rows = group.sort_values("rank").to_dict("records")
        # Text, because a token may look like rich's markup.
        cells = [Text(f"{_visible(row['token'])} {row['cosine']:.2f}") for row in rows]
        started = rows[0]["started_as"]
        table.add_row(str(number), Text(_visible(started) if isinstance(started, str) else "—"), *cells)
    return table


def _visible(token: str) -> str:
    """White space made visible, as tokenizers write it."""
    return token.replace(" ", "▁").replace("\n", "⏎").replace("\t", "⇥")
