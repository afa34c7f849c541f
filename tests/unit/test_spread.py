import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import chi2

from softprompt.analysis.copies import without_copies
from softprompt.analysis.spread import spread_table

LABELS = pd.DataFrame({"task": ["a", "a", "a", "b"], "variant": ["text"] * 4})


def test_variance_of_norms_and_squared_distance_by_hand():
    """Norms 5, 10 and 15; along (3, 4) the prompts stand at −5, 0 and 5 from their mean."""
    prompts = [torch.tensor([[3.0, 4.0]]) * factor for factor in (1, 2, 3)]
    (row,) = spread_table(LABELS[:3], prompts).to_dict("records")
    assert row["runs"] == 3 and row["mean_norm"] == pytest.approx(10)
    assert row["norm_variance"] == pytest.approx((25 + 0 + 25) / 2)
    assert row["mean_squared_distance"] == pytest.approx((25 + 0 + 25) / 2)
    assert row["norm_variance_low"] == pytest.approx(2 * 25 / chi2.ppf(0.975, 2))
    assert row["norm_variance_high"] == pytest.approx(2 * 25 / chi2.ppf(0.025, 2))


def test_prompts_of_equal_norm_may_be_far_apart():
    (row,) = spread_table(LABELS[:2], [torch.eye(2)[:1], torch.eye(2)[1:]]).to_dict("records")
    assert row["norm_variance"] == 0 and row["mean_squared_distance"] == pytest.approx(1)


def test_the_squared_distance_is_the_trace_of_numpy_s_covariance():
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randn(3, 2, generator=generator) for _ in range(5)]
    labels = pd.DataFrame({"task": ["a"] * 5, "variant": ["random"] * 5})
    (row,) = spread_table(labels, prompts).to_dict("records")
    flat = np.stack([prompt.numpy().ravel() for prompt in prompts]).astype(float)
    assert row["mean_squared_distance"] == pytest.approx(np.trace(np.cov(flat.T)))
    assert row["norm_variance"] == pytest.approx(np.linalg.norm(flat, axis=1).var(ddof=1))


def test_equal_starts_have_a_spread_of_exactly_zero_and_one_run_has_none():
    start = torch.full((2, 3), 0.1)
    equal, single = spread_table(LABELS, [start, start, start, start]).to_dict("records")
    assert equal["norm_variance"] == 0 and equal["mean_squared_distance"] == 0
    assert single["runs"] == 1 and np.isnan(single["norm_variance"])
    assert np.isnan(single["mean_squared_distance"])


def test_only_copies_within_a_task_and_variant_are_left_out():
    start, moved = torch.zeros(2, 2), torch.ones(2, 2)
    kept = without_copies(LABELS, [start, moved, start, start])
    assert kept.index.tolist() == [0, 1, 3]
    table = spread_table(kept, [start, moved, start, start])
    assert table["runs"].tolist() == [2, 1]
    other = LABELS.assign(variant=["text", "text", "random", "text"])
    assert without_copies(other, [start, moved, start, start]).index.tolist() == [0, 1, 2, 3]
