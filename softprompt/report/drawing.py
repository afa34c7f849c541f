"""A figure that goes to paper (PNG, PDF) and to the page (SVG, with a text that shows when one points at a part)."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from softprompt.files import write_atomically

SVG = "http://www.w3.org/2000/svg"

# The first font that has a glyph draws it: Latin, Greek and Cyrillic come with matplotlib, other scripts with the
# system's Noto fonts. On the page the browser chooses.
SCRIPTS = (
    "Arabic",
    "Devanagari",
    "Bengali",
    "Kannada",
    "Tamil",
    "Telugu",
    "Gujarati",
    "Malayalam",
    "CJK SC",
    "CJK JP",
)
INSTALLED = {font.name for font in fontManager.ttflist}
FONTS = ["DejaVu Sans", *(font for script in SCRIPTS if (font := f"Noto Sans {script}") in INSTALLED)]

STYLE: dict[Any, Any] = {
    "font.family": FONTS,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "savefig.bbox": "tight",
    "svg.hashsalt": "softprompt",  # the same figure is the same file
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@dataclass
class Drawing:
    """A figure with the tips of its parts."""

    figure: Figure
    tips: dict[str, str] = field(default_factory=dict)

    def tip(self, artist: Artist, text: str) -> None:
        """Show a text when the page's reader points at this part."""
        name = f"tip-{len(self.tips)}"
        artist.set_gid(name)
        self.tips[name] = text

    def save(self, folder: Path, name: str) -> None:
        """Write `<name>.png` and `<name>.pdf`."""
        for kind in ("png", "pdf"):
            write_atomically(folder / f"{name}.{kind}", self._rendered(kind))

    def svg(self) -> str:
        """The figure as an `<svg>` element to stand in a page."""
        ElementTree.register_namespace("", SVG)
        ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
        root = ElementTree.fromstring(self._rendered("svg"))
        for element in root.iter():
            if (text := self.tips.get(element.get("id", ""))) is not None:
                title = ElementTree.Element(f"{{{SVG}}}title")
                title.text = text
                element.insert(0, title)
        for metadata in root.findall(f"{{{SVG}}}metadata"):
            root.remove(metadata)
        return ElementTree.tostring(root, encoding="unicode")

    def _rendered(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        with rc_context(STYLE):
            dateless = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else {}
            self.figure.savefig(buffer, format=kind, dpi=200, metadata=dateless)
        return buffer.getvalue()
