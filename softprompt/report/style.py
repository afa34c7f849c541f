"""Colours, markers and labels that several figures share."""

from collections.abc import Sequence

import pandas as pd

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*", "<", ">")
KEPT, IN_LEXICON, OTHER_ROW = "#2a7d4f", "#b3541e", "#b9c3cc"
INK, FAINT, LINE = "#222222", "#777777", "#999999"

LONGEST_TOKEN = 16  # characters


def colour_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each task or variant, in order of appearance."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(dict.fromkeys(names))}


def marker_of(variants: Sequence[str]) -> dict[str, str]:
    """A marker for each variant, in order of appearance."""
    return {variant: MARKERS[i % len(MARKERS)] for i, variant in enumerate(dict.fromkeys(variants))}


def token_label(token: str) -> str:
    """A token as a label: visible white space, dollar signs escaped (matplotlib's mathematics), shortened."""
    label = token.replace(" ", "▁").replace("\n", "⏎").replace("\t", "⇥").replace("$", r"\$")
    return label if len(label) <= LONGEST_TOKEN else label[: LONGEST_TOKEN - 1] + "…"


def shared_initial_tokens(table: pd.DataFrame) -> dict[int, str]:
    """By row, the initial token, where all runs have the same. `table` has `row` and `initial_token`."""
    tokens = table[table["initial_token"].notna()].groupby("row")["initial_token"]
    return {int(str(row)): str(of_row.iloc[0]) for row, of_row in tokens if of_row.nunique() == 1}
