"""The documentation site: it builds in strict mode, loads nothing from another host, and its commands can be composed."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from softprompt.report.registry import all_sections
from tests.conftest import ROOT, composed

DOCS = ROOT / "docs"
PAGES = [DOCS / f"{name}.md" for name in ("index", "study", "own_task", "own_model", "report", "cluster")]
# Files that the pages tell the reader to write.
WRITTEN = {"task=mood", "model=mine"}


def commands(page: Path, names: str) -> list[list[str]]:
    """The arguments of the commands on a page that run one of these programs."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    return [
        words[number + 1 :]
        for words in split
        for number, word in enumerate(words)
        if re.fullmatch(names, Path(word).name)
    ]


def swept(override: str) -> list[str]:
    """An override with each of its values: `seed=0,1` are `seed=0` and `seed=1`."""
    key, _, values = override.partition("=")
    return [f"{key}={value}" for value in ([values] if set(values) & set("{[") else values.split(","))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_for_training_compose(page: Path) -> None:
    for arguments in commands(page, r"train\.py|softprompt-train"):
        overrides = [swept(word) for word in arguments if "=" in word and word not in WRITTEN]
        for values in overrides:
            for value in values:
                composed(*[value if of_other is values else of_other[0] for of_other in overrides])


def test_the_sections_of_the_report_are_explained_in_its_order() -> None:
    headings = re.findall(r"^## .*\(`(\w+)`\)$", (DOCS / "report.md").read_text(), re.MULTILINE)
    assert headings == list(all_sections())


def test_the_task_of_ones_own_is_that_of_the_readme() -> None:
    page, readme = (path.read_text() for path in (DOCS / "own_task.md", ROOT / "README.md"))
    section = readme.partition("## Your own task")[2]
    for language in ("yaml", "json", "bash"):
        (block,) = re.findall(rf"```{language}\n.*?```", page, re.DOTALL)[:1]
        assert block in section


@pytest.mark.skipif(
    not importlib.util.find_spec("mkdocs"), reason="mkdocs is not installed: pip install '.[docs]'"
)
def test_the_site_builds_and_loads_nothing_from_another_host(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) >= 12
    for page in pages:
        content = page.read_text()
        assert "default-src 'self'" in content, page  # a browser refuses what comes from elsewhere
        tags = re.findall(r"<(?:link|script|img|iframe|source|video)\b[^>]*>", content)
        assert tags and not [tag for tag in tags if re.search(r'(?:href|src)="?(?:https?:)?//', tag)], page
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", sheet.read_text()), sheet
