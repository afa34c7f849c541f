"""Figures show any script and any token, in files and on the page."""

import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from softprompt.console import show_control_characters
from softprompt.report.drawing import SVG
from softprompt.report.sections.neighbours import figure_of

WORDS = [
    "صحيح",
    "सही",
    "সঠিক",
    "ಸರಿ",
    "正确",
    "정확",
    "точно",
    "<script>",
    "$x_1$",
    "a&b",
    "🙂",
    "\\frac{",
    "\x01\x1b",
    " the",
]


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"run": "a", "row": row, "rank": 1, "initial_token": word, "token": word, "cosine": 0.5,
             "among_initial_tokens": row % 2 == 0, "in_lexicon": False}
            for row, word in enumerate(WORDS)
        ]
    )  # fmt: skip


def test_every_script_is_drawn_without_warnings(
    table: pd.DataFrame, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure_of(table, "any").save(tmp_path, "any")
    assert (tmp_path / "any.png").stat().st_size > 5000 and (tmp_path / "any.pdf").stat().st_size > 5000
    assert capfd.readouterr() == ("", "")


def test_the_svg_has_real_text_and_tips(table: pd.DataFrame) -> None:
    svg = figure_of(table, "any").svg()
    root = ElementTree.fromstring(svg)
    shown = {element.text for element in root.iter(f"{{{SVG}}}text")}
    assert {show_control_characters(word.replace(" ", "▁")) for word in WORDS} <= shown
    tips = [element.text for element in root.iter(f"{{{SVG}}}title")]
    assert len(tips) == len(WORDS) and "'<script>', cosine 0.500" in tips[WORDS.index("<script>")]
    assert "<script>" not in svg and "Noto" not in svg


def test_equal_figures_are_equal_files(table: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("one", "two"):
        figure_of(table, "any").save(tmp_path, name)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert figure_of(table, "any").svg() == figure_of(table, "any").svg()
    assert not re.search(r"\d{4}-\d\d-\d\dT", figure_of(table, "any").svg())
