"""Correction of p for the number of tests."""

import pytest

from softprompt.analysis.holm import holm


def test_holm_by_hand():
    # 0.01 · 4; 0.02 · 3; 0.03 · 2, which is not below the one before; 0.5 · 1
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
