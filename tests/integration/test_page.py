"""The report's page; it is opened in a browser if there is one."""

import csv
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from softprompt.report.write import write_report
from softprompt.study import Study
from tests.integration.small_sweep import ANALYSIS, CONTROL, HOSTILE

BROWSER = shutil.which("chromium")


def test_findings_stand_beside_their_null_and_captions_are_sentences(small_sweep: Path) -> None:
    page = (small_sweep / "analysis/report.html").read_text()
    for part in (
        "because runs of a task start alike",
        "With m tasks no p can be below 2/m!",
        "<td>elsewhere, table 1</td><td>119</td><td>1.31</td>",  # beside the task of the same name
    ):
        assert part in page
    captions = re.findall("<figcaption>(.*)</figcaption>", page)
    assert sum(caption.endswith(".") and " " in caption for caption in captions) >= 3
    nearest = pd.read_csv(small_sweep / "analysis/tables/nearest_prompt.csv").set_index(
        ["variant", "prompts"]
    )
    assert nearest["same_task"]["text", "start"] == 6  # two runs of each of three tasks start alike
    assert not nearest["starts_differ"]["text", "start"] and nearest["starts_differ"]["random", "start"]


def test_control_characters_of_the_vocabulary_are_shown_as_numbers(small_sweep: Path) -> None:
    study = Study(small_sweep, Console(quiet=True), replace(ANALYSIS, sweep=str(small_sweep)))
    token = study.backbone.tokenizer.convert_tokens_to_ids(CONTROL)
    assert token != study.backbone.tokenizer.unk_token_id
    assert study.text_of(token) == r"\x01\x1b[31m\x7f"
    page = (small_sweep / "analysis/report.html").read_text()
    assert not set(page) & set("\x01\x1b\x7f")


def test_the_page_explains_the_spaces_once_before_they_are_named(small_sweep: Path, tmp_path: Path) -> None:
    page = (small_sweep / "analysis/report.html").read_text()
    assert page.count("compared in three spaces") == 1
    body = page[page.index("<section") :]
    assert (
        body.index("<h2>Nearest tokens</h2>") < body.index("compared in three spaces") < body.index("(raw)")
    )
    assert "as read" not in page
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))
    assert "compared in three spaces" not in (copy / "analysis/report.html").read_text()


def test_the_page_escapes_tokens(small_sweep: Path) -> None:
    page = (small_sweep / "analysis/report.html").read_text()
    assert HOSTILE not in page and "&lt;script&gt;" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page.replace('xlink:href="#', ""))


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_a_browser_shows_the_page_without_errors_or_requests(small_sweep: Path, tmp_path: Path) -> None:
    page = small_sweep / "analysis/report.html"
    result = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Soft prompts of" in result.stdout
    assert "<title>owned" not in result.stdout
    # The page's policy forbids scripts and requests; an attempt would be reported on the console.
    assert "default-src 'none'" in result.stdout
    assert "CONSOLE" not in result.stderr
    rows = len(list(csv.reader((small_sweep / "analysis/tables/scores.csv").open())))
    assert result.stdout.count("<svg") >= 7 and rows == 13
