"""Every relative link of a page leads to a file, and every anchor to a heading."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from docs.config_reference import slug
from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / "docs").glob("*.md"),
]


def inline(page: Path) -> Iterator[tuple[Token | None, Token]]:
    """The inline tokens of a page, each with the token in front of it."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(page.read_text())
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "inline":
            yield before, token


def links(page: Path) -> list[str]:
    return [
        str(child.attrs.get("href") or child.attrs["src"])
        for _, token in inline(page)
        for child in token.children or ()
        if child.type in ("link_open", "image")
    ]


@cache
def anchors(page: Path) -> set[str]:
    return {
        slug("".join(child.content for child in token.children or ()))
        for before, token in inline(page)
        if before is not None and before.type == "heading_open"
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_links_and_anchors_are_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two_three`: (four)\n\n| a |\n|---|\n| [x](other.md#one) ![y](z.png) |\n")
    assert links(page) == ["other.md#one", "z.png"]
    assert anchors(page) == {"one-two_three-four"}
