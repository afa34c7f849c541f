import numpy as np

from softprompt.analysis.rounding import rounded


def test_ten_significant_digits():
    values = np.array([0.1 + 0.2, 0.3, -12345678901.4, 1.23456789012e-7, 0.0])
    assert rounded(values)[0] == rounded(values)[1]
    np.testing.assert_allclose(rounded(values), [0.3, 0.3, -12345678900, 1.234567890e-7, 0], rtol=1e-15)


def test_what_is_not_finite_stays():
    np.testing.assert_array_equal(rounded(np.array([np.nan, np.inf, -np.inf])), [np.nan, np.inf, -np.inf])
