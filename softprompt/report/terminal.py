"""Tables on a terminal."""

import pandas as pd
from rich.table import Table
from rich.text import Text


def score_screen(scores: pd.DataFrame) -> Table:
    """The score table, shares in percent."""
    table = Table(title="exact match on validation", title_justify="left")
    for name in ("task", "init", "seed"):
        table.add_column(name)
    for name in (
        "majority",
        "no prompt",
        "instruction",
        "tuned",
        "95% interval",
        "rank acc.",
        "n",
        "best step",
    ):
        table.add_column(name, justify="right")
    for row in scores.to_dict("records"):
        baselines = [f"{row[name]:.1%}" for name in ("majority", "no_prompt", "instruction", "tuned")]
        interval = f"{row['low']:.1%} to {row['high']:.1%}"
        rank_accuracy = f"{row['rank_accuracy']:.1%}"
        counts = [str(row["n"]), str(row["best_step"])]
        table.add_row(
            row["task"], row["init"], str(row["seed"]), *baselines, interval, rank_accuracy, *counts
        )
    return table


def neighbour_screen(title: str, neighbours: pd.DataFrame) -> Table:
    """One line per prompt row: what it started as, and its nearest tokens with their cosines."""
    table = Table(title=title, title_justify="left")
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
