"""Numbers as text."""

import math

import pytest

from softprompt.report.formatting import format_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [(512, "512 B"), (999.6, "1.00 kB"), (53_248, "53.2 kB"), (999_499, "999 kB"), (999_999, "1.00 MB"), (math.nan, "–")],
)  # fmt: skip
def test_bytes_have_three_digits_and_the_largest_unit(count: float, text: str) -> None:
    assert format_bytes(count) == text
