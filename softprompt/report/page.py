"""The report as one HTML file that needs nothing else: no network, no script."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from softprompt.report.sections import Section

ROWS = 400  # of a table, on the page


def render_page(title: str, lead: str, sections: Sequence[Section], provenance: Mapping[str, str]) -> str:
    """The page. Whatever comes from data or vocabulary is escaped; the figures' texts are so already."""
    environment = Environment(
        loader=PackageLoader("softprompt.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["cell"] = _cell
    template = environment.get_template("page.html.jinja")
    return template.render(title=title, lead=lead, sections=sections, provenance=provenance, limit=ROWS)


def _cell(value: object) -> Markup:
    if isinstance(value, Real) and not isinstance(value, (Integral, bool)):
        shown = "" if value != value else f"{float(value):.4g}"
        return Markup(f'<td class="number">{shown}</td>')
    if isinstance(value, Integral) and not isinstance(value, bool):
        return Markup(f'<td class="number">{int(value)}</td>')
    return Markup("<td>{}</td>").format(escape("" if value is None else value))
