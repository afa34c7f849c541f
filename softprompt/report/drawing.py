"""A figure that goes to paper (PNG, PDF) and to the page (SVG, with a text that shows when one points at a part)."""

import io
import logging
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, findSystemFonts, fontManager, get_font

from softprompt.files import write_atomically

SVG = "http://www.w3.org/2000/svg"

# The first font that has a glyph draws it: Latin, Greek and Cyrillic come with matplotlib, other scripts with the
# system's Noto fonts, where they are installed. On the page the browser chooses.
SCRIPTS = (
    "CJK|Arabic|Armenian|Bengali|Devanagari|Ethiopic|Georgian|Gujarati|Gurmukhi|Hebrew|Kannada|Khmer|Lao|Malayalam|"
    "Myanmar|Oriya|Sinhala|Symbols|Tamil|Telugu|Thai"
)
# It tells of every one of these fonts that has no bold.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


def _fonts() -> list[str]:
    wanted = re.compile(rf"NotoSans({SCRIPTS})-Regular\.(ttf|ttc|otf)")
    paths = sorted(path for path in findSystemFonts() if wanted.fullmatch(Path(path).name))
    # matplotlib keeps its list of fonts between processes, and would not see those that were installed since.
    for path in set(paths) - {font.fname for font in fontManager.ttflist}:
        fontManager.addfont(path)
    found = [font.name for font in fontManager.ttflist if font.fname in paths and "Mono" not in font.name]
    return ["DejaVu Sans", *sorted(set(found))]


FONTS = _fonts()
OWN = frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def fonts_for(text: str) -> list[str]:
    """What draws a text: all fonts where the first has not all its characters. Looking through all takes its time."""
    return FONTS[:1] if OWN.issuperset(map(ord, text)) else FONTS


STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
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
        # A browser finds fonts by itself, and does not need their names at every word.
        names = ", ".join(f"'{name}'" for name in FONTS)
        root = ElementTree.fromstring(
            self._rendered("svg").decode().replace(names, "'DejaVu Sans', sans-serif")
        )
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
        with rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for it
            dateless = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else {}
            self.figure.savefig(buffer, format=kind, dpi=200, metadata=dateless)
        return buffer.getvalue()
