"""Compares architectures and prints what became of each, or writes the table of docs/models.md.

python -m tests.architectures gemma2 mamba
python -m tests.architectures --write
"""

import argparse
import json
from pathlib import Path

from tests.architectures.page import PAGE, with_table
from tests.architectures.survey import survey
from tests.architectures.tiny import ARCHITECTURES

parser = argparse.ArgumentParser(prog="python -m tests.architectures")
parser.add_argument(
    "model_types", nargs="*", default=ARCHITECTURES, help="as config.json names them; default: all"
)
parser.add_argument("--write", action="store_true", help="write the table of docs/models.md")
parser.add_argument("--json", type=Path, help="a file to write the outcomes to")
options = parser.parse_args()
outcomes = {}
for model_type, outcome in survey(options.model_types):
    outcomes[model_type] = outcome
    difference = "" if outcome.difference is None else f" (difference {outcome.difference:.0e})"
    print(f"{model_type}: {outcome.kind}: {outcome.detail}{difference}", flush=True)
if options.write:
    PAGE.write_text(with_table(PAGE.read_text(), outcomes))
if options.json:
    options.json.write_text(
        json.dumps({model_type: vars(outcome) for model_type, outcome in outcomes.items()})
    )
