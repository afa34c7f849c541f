"""The table in docs/models.md."""

import re
from collections.abc import Mapping
from pathlib import Path

import transformers

from tests.architectures.compare import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
MARK = re.compile(r"(?s)<!-- table: transformers (\S+) -->\n.*<!-- end of the table -->")
# Of a reason that softprompt gives, what does not name the model.
REASON = re.compile(r"because (.*?)(?:; models of type .*|; softprompt needs .*)?$")


def row_of(outcome: Outcome) -> str:
    """The row of the table in which an architecture with this outcome stands."""
    alone = ", the decoder alone" if outcome.decoder_alone else ""
    if outcome.kind == "equal":
        return f"{outcome.detail}{alone}"
    found = REASON.search(outcome.detail)
    return f"{outcome.kind}{alone}: {found[1] if found else outcome.detail}"


def table_of(outcomes: Mapping[str, Outcome]) -> str:
    """The architectures, grouped by what became of them; those that can be used first."""
    rows: dict[str, list[str]] = {}
    for model_type in sorted(outcomes):
        rows.setdefault(row_of(outcomes[model_type]), []).append(model_type)
    kinds = ["unpadded", "shared prefix", "padded", "refused", "not tried"]
    order = sorted(rows, key=lambda row: (kinds.index(re.split("[,:]", row)[0]), row))
    lines = [f"| {row} | {', '.join(f'`{name}`' for name in rows[row])} |" for row in order]
    return "\n".join(["| | `model_type` in config.json |", "|---|---|", *lines])


def with_table(page: str, outcomes: Mapping[str, Outcome]) -> str:
    """The page with the table of these outcomes in place of its own."""
    begin = f"<!-- table: transformers {transformers.__version__} -->"
    return MARK.sub(lambda _: f"{begin}\n{table_of(outcomes)}\n<!-- end of the table -->", page)


def version_of(page: str) -> str:
    """The version of transformers that the page's table is of."""
    found = MARK.search(page)
    assert found is not None, f"{PAGE} has no table"
    return found[1]
