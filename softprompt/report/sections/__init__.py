"""The sections of the report, one module each: what is computed, its figure, and its prose.

A module registers its section with `@section` (`softprompt/report/registry.py`) and is found without another edit.
Computation that needs no model goes to `softprompt/analysis/`.
"""
