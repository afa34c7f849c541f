"""Figures for print (PNG, PDF) and for the page (SVG, with texts that appear when the reader points at a part)."""

import io
import logging
import re
import warnings
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from matplotlib import rc_context, rcParams
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, findSystemFonts, fontManager, get_font
from matplotlib.transforms import Bbox

from softprompt.console import show_control_characters
from softprompt.files import write_atomically

DPI = 200
SVG = "http://www.w3.org/2000/svg"

# matplotlib's own font has Latin, Greek and Cyrillic. Other scripts need the system's Noto fonts, if installed.
OWN_FONT = "DejaVu Sans"
NOTO_SCRIPTS = (
    "CJK|Arabic|Armenian|Bengali|Devanagari|Ethiopic|Georgian|Gujarati|Gurmukhi|Hebrew|Kannada|Khmer|Lao|Malayalam|"
    "Myanmar|Oriya|Sinhala|Symbols|Tamil|Telugu|Thai"
)

STYLE: dict[Any, Any] = {
    "font.family": OWN_FONT,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "softprompt",  # equal figures are equal files
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@cache  # scanning the system's fonts takes time
def fonts() -> list[str]:
    """matplotlib's own font and the installed Noto fonts. The first font that has a glyph draws it."""
    # matplotlib warns about each font without a bold variant.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    pattern = re.compile(rf"NotoSans({NOTO_SCRIPTS})-Regular\.(ttf|ttc|otf)")
    paths = sorted(path for path in findSystemFonts() if pattern.fullmatch(Path(path).name))
    # matplotlib caches its list of fonts on disk, so fonts that were installed later are missing from it.
    for path in set(paths) - {font.fname for font in fontManager.ttflist}:
        fontManager.addfont(path)
    names = {font.name for font in fontManager.ttflist if font.fname in paths and "Mono" not in font.name}
    return [OWN_FONT, *sorted(names)]


@cache
def _own_characters() -> frozenset[int]:
    return frozenset(get_font(findfont(OWN_FONT)).get_charmap())


def fonts_for(text: str) -> list[str]:
    """The fonts to draw a text with: all of them only if the first lacks a character, because searching all is slow."""
    return [OWN_FONT] if _own_characters().issuperset(map(ord, text)) else fonts()


@dataclass
class Drawing:
    """A figure with tips for its parts.

    Attributes:
        figure: the matplotlib figure.
        wide: True if the page shows it in full size and lets the reader scroll, instead of fitting it to the page.
        tips: by id of a part, the text that appears when the reader points at it.
        caption: a sentence on what the figure shows, below it on the page; if empty, the figure's name stands there.
    """

    figure: Figure
    wide: bool = False
    tips: dict[str, str] = field(default_factory=dict)
    caption: str = ""

    def tip(self, artist: Artist, text: str) -> None:
        """Set the text that appears when the reader points at this part."""
        name = f"tip-{len(self.tips)}"
        artist.set_gid(name)
        self.tips[name] = text

    def save(self, folder: Path, name: str) -> None:
        """Write `<name>.png` and `<name>.pdf`."""
        for kind in ("png", "pdf"):
            write_atomically(folder / f"{name}.{kind}", self._rendered(kind))

    def svg(self) -> str:
        """The figure as an `<svg>` element for a page."""
        ElementTree.register_namespace("", SVG)
        ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
        # A browser finds the fonts itself; their names at every word would be most of the file.
        names = ", ".join(f"'{name}'" for name in fonts())
        source = self._rendered("svg").decode().replace(names, f"'{OWN_FONT}', sans-serif")
        root = ElementTree.fromstring(show_control_characters(source))
        for element in root.iter():
            if (text := self.tips.get(element.get("id", ""))) is not None:
                title = ElementTree.Element(f"{{{SVG}}}title")
                title.text = show_control_characters(text)
                element.insert(0, title)
        for metadata in root.findall(f"{{{SVG}}}metadata"):
            root.remove(metadata)
        return ElementTree.tostring(root, encoding="unicode")

    @cached_property
    def _box(self) -> Bbox:
        """The part of the figure that has something in it, in inches, once everything has its place.

        Computed once for all files, because it takes as long as drawing one.
        """
        self.figure.set_dpi(DPI)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        return self.figure.get_tightbbox().padded(rcParams["savefig.pad_inches"])

    def _rendered(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        with rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # drawn as a box
            # Without a date, so that equal figures are equal files.
            metadata = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else {}
            self.figure.savefig(buffer, format=kind, dpi=DPI, bbox_inches=self._box, metadata=metadata)
        return buffer.getvalue()
