"""The report as one HTML file without scripts, which loads nothing from the network."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from softprompt.console import show_control_characters
from softprompt.report.registry import Claim, Question, Section, Verdict

ROWS = 400  # of a table, on the page

SPACES = {
    "Raw": "embeddings as stored.",
    "Model input": (
        "after the model's embedding LayerNorm, if it has one, as BLOOM does. The LayerNorm removes the mean and the scale "
        "of each row, so part of a raw norm, variance or distance has no effect on the model. Without a LayerNorm the "
        "model input is the raw embedding."
    ),
    "Model input, centred": (
        "the model input less its mean over the vocabulary. It is used for nearest tokens, because a cosine depends on the "
        "origin, and what all tokens have in common does not tell them apart."
    ),
}


def render_page(title: str, lead: str, sections: Sequence[Section], provenance: Mapping[str, str]) -> str:
    """The page. All text from data or vocabulary is escaped; in the figures it is escaped already."""
    environment = Environment(
        loader=PackageLoader("softprompt.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["cell"] = _cell
    template = environment.get_template("page.html.jinja")
    names_spaces = [section.names_spaces for section in sections]
    answers = _answers(sections)
    # By question, the figures beside its claims: section and name. Several claims may share one. A figure that is shown
    # there is not shown again in its section.
    figures = {
        question: list(dict.fromkeys((number, claim.drawing) for number, claim in claims if claim.drawing))
        for question, claims in answers.items()
    }
    page = template.render(
        title=title,
        lead=lead,
        answers=answers,
        classes={Verdict.HOLDS: "holds", Verdict.FAILS: "fails", Verdict.OPEN: "open"},
        sections=sections,
        figures=figures,
        beside_claims={place for of_question in figures.values() for place in of_question},
        spaces=SPACES,
        explain_spaces_in=names_spaces.index(True) if any(names_spaces) else None,
        provenance=provenance,
        limit=ROWS,
    )
    return show_control_characters(page)


def _answers(sections: Sequence[Section]) -> dict[Question, list[tuple[int, Claim]]]:
    """The claims of each question that has any, with the number of their section, from 1."""
    answers = {
        question: [
            (number, claim)
            for number, section in enumerate(sections, start=1)
            for claim in section.claims
            if claim.question is question
        ]
        for question in Question
    }
    return {question: claims for question, claims in answers.items() if claims}


def _cell(value: object) -> Markup:
    if isinstance(value, Real) and not isinstance(value, (Integral, bool)):
        number = "–" if value != value else f"{float(value):.4g}"
        return Markup(f'<td class="number">{number}</td>')
    if isinstance(value, Integral) and not isinstance(value, bool):
        return Markup(f'<td class="number">{int(value)}</td>')
    return Markup("<td>{}</td>").format(escape("" if value is None else value))
