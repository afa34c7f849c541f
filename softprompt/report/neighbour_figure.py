"""The figure of nearest tokens."""

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.report.drawing import STYLE, Drawing, fonts_for
from softprompt.report.style import FAINT, IN_LEXICON, INK, KEPT, shared_initial_tokens, token_label

# In inches.
TOKEN_WIDTH, TOKEN_HEIGHT, INITIAL_WIDTH, NUMBER_WIDTH = 1.35, 0.2, 1.6, 0.4


@rc_context(STYLE)
def neighbour_figure(table: pd.DataFrame, title: str, caption: str, wide: bool = False) -> Drawing:
    """A line per prompt row, a column per run: the nearest tokens; initial tokens and the lexicon coloured.

    Args:
        table: lines of neighbours.csv of some runs and of random vectors.
        title: of the figure.
        caption: of the drawing.
        wide: as in `Drawing`.
    """
    runs = list(dict.fromkeys(table["run"]))
    rows = sorted(table["row"].unique())
    ranks = sorted(table["rank"].unique())
    initial_tokens = shared_initial_tokens(table)
    has_initial = len(initial_tokens) == len(rows)
    run_width = TOKEN_WIDTH * len(ranks) + 0.15
    left = INITIAL_WIDTH * has_initial + NUMBER_WIDTH
    figure = Figure(figsize=(run_width * len(runs) + left, TOKEN_HEIGHT * len(rows) + 0.8))
    drawing = Drawing(figure, wide=wide, caption=caption)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set(xlim=(0, left + run_width * len(runs)), ylim=(len(rows) + 0.2, -3))
    axis.text(0, -2.4, title, weight="bold", size=10)
    if has_initial:
        axis.text(0.35, -1, "initial token", color=FAINT)
        for row, token in initial_tokens.items():
            label = token_label(token)
            axis.text(0.35, rows.index(row), label, color=FAINT, family=fonts_for(label))
    for column, run in enumerate(runs):
        axis.text(left + run_width * column, -1, run, color=FAINT)
    for line in table.to_dict("records"):
        y = rows.index(line["row"])
        x = left + run_width * runs.index(line["run"]) + TOKEN_WIDTH * ranks.index(line["rank"])
        colour = KEPT if line["among_initial_tokens"] else IN_LEXICON if line["in_lexicon"] else INK
        label = token_label(line["token"])
        weight = "bold" if colour != INK else "normal"
        text = axis.text(x, y, label, color=colour, weight=weight, family=fonts_for(label))
        drawing.tip(
            text, f"row {line['row']}, rank {line['rank']}: {line['token']!r}, cosine {line['cosine']:.3f}"
        )
        if line["rank"] == 1:
            axis.text(0, y, str(line["row"]), color=FAINT)
    return drawing
