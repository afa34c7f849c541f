"""Figures show any script and any token, in files and on the page."""

import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.figure import Figure

from softprompt.console import show_control_characters
from softprompt.report.drawing import SVG, Drawing
from softprompt.report.formatting import significant
from softprompt.report.heat_map import heat_map
from softprompt.report.neighbour_figure import neighbour_figure
from softprompt.report.page import render_page
from softprompt.report.registry import Section

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
        neighbour_figure(table, "any", "a caption").save(tmp_path, "any")
    assert (tmp_path / "any.png").stat().st_size > 5000 and (tmp_path / "any.pdf").stat().st_size > 5000
    assert capfd.readouterr() == ("", "")


def test_the_svg_has_real_text_and_tips(table: pd.DataFrame) -> None:
    svg = neighbour_figure(table, "any", "a caption").svg()
    root = ElementTree.fromstring(svg)
    shown = {element.text for element in root.iter(f"{{{SVG}}}text")}
    assert {show_control_characters(word.replace(" ", "▁")) for word in WORDS} <= shown
    tips = [element.text for element in root.iter(f"{{{SVG}}}title")]
    assert len(tips) == len(WORDS) and "'<script>', cosine 0.500" in tips[WORDS.index("<script>")]
    assert "<script>" not in svg and "Noto" not in svg


def test_equal_figures_are_equal_files(table: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("one", "two"):
        neighbour_figure(table, "any", "a caption").save(tmp_path, name)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert (
        neighbour_figure(table, "any", "a caption").svg() == neighbour_figure(table, "any", "a caption").svg()
    )
    assert not re.search(r"\d{4}-\d\d-\d\dT", neighbour_figure(table, "any", "a caption").svg())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234.5, "1230"),
        (123.45, "123"),
        (1.2, "1.20"),
        (0.012345, "0.0123"),
        (9.999, "10.0"),
        (0.0, "0"),
        (-45.67, "-45.7"),
        (float("nan"), "–"),
    ],
)
def test_three_significant_digits_without_an_exponent(value: float, shown: str) -> None:
    assert significant(value) == shown


def test_a_heat_map_of_distances_has_plain_numbers_a_scale_and_the_caller_s_labels() -> None:
    table = pd.DataFrame(
        {"source": ["a", "a", "b", "b"], "target": ["a", "b"] * 2, "distance": [0.5, 1234.5, 1234.5, 0.25]}
    )
    root = ElementTree.fromstring(
        heat_map(table, "distance", "title", label="‖A − B‖", axes=("task", "task")).svg()
    )
    shown = [element.text for element in root.iter(f"{{{SVG}}}text")]
    assert {"0.500", "1230", "0.250", "‖A − B‖"} <= set(shown) and shown.count("task") == 2
    tips = [element.text for element in root.iter(f"{{{SVG}}}title")]
    assert "a, b: 1234" in tips or "a, b: 1235" in tips
    transfer = ElementTree.fromstring(heat_map(table, "distance", "title").svg())
    assert "target task" in {element.text for element in transfer.iter(f"{{{SVG}}}text")}


def test_the_page_shows_a_caption_or_else_the_name() -> None:
    drawings = {"one": Drawing(Figure(), caption="It grew by 3 < 4."), "two": Drawing(Figure())}
    page = render_page("title", "lead", [Section("any", "how", drawings=drawings)], {})
    captions = re.findall("<figcaption>(.*)</figcaption>", page)
    assert captions == ["It grew by 3 &lt; 4.", "two"]
