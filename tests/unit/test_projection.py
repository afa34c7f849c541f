import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA

from softprompt.analysis.geometry import stretched
from softprompt.analysis.projection import INITIAL, TUNED, projection_table

GENERATOR = torch.Generator().manual_seed(0)
PROMPTS = [torch.randn(3, 4, generator=GENERATOR) + 10 * (i // 4) for i in range(8)]
STARTS = [prompt + 0.1 * torch.randn(3, 4, generator=GENERATOR) for prompt in PROMPTS]
LABELS = pd.DataFrame({"task": ["a"] * 4 + ["b"] * 4})


def test_it_is_deterministic_and_separates_clusters():
    first, perplexity = projection_table(LABELS, PROMPTS, STARTS)
    second, _ = projection_table(LABELS, PROMPTS, STARTS)
    pd.testing.assert_frame_equal(first, second)
    assert perplexity == pytest.approx(15 / 3)
    tuned = first[first["prompt"] == TUNED]
    for kind in ("tsne", "pca"):
        points = tuned[[f"{kind}_x", f"{kind}_y"]].to_numpy()
        centres = points[:4].mean(0), points[4:].mean(0)
        spread = max(points[:4].std(), points[4:].std())
        assert np.linalg.norm(centres[0] - centres[1]) > spread


def test_pca_is_scikit_learn_s_on_rows_end_to_end():
    flat = np.stack([prompt.flatten().numpy() for prompt in [*PROMPTS, *STARTS]])
    expected = PCA(2, random_state=0).fit_transform(flat)
    table, _ = projection_table(LABELS, PROMPTS, STARTS)
    np.testing.assert_allclose(np.abs(table[["pca_x", "pca_y"]]), np.abs(expected), rtol=1e-3, atol=1e-4)
    assert table["prompt"].tolist() == [TUNED] * 8 + [INITIAL] * 8
    assert table["task"].tolist() == LABELS["task"].tolist() * 2


def test_starts_that_coincide_are_one_point():
    starts = [STARTS[0]] * 4 + [STARTS[4]] * 4
    table, perplexity = projection_table(LABELS, PROMPTS, starts)
    assert perplexity == pytest.approx((8 + 2 - 1) / 3)
    points = table.loc[table["prompt"] == INITIAL, ["tsne_x", "tsne_y", "pca_x", "pca_y"]]
    assert len(points[:4].drop_duplicates()) == len(points[4:].drop_duplicates()) == 1
    kept, _ = projection_table(LABELS, [*PROMPTS[:7], starts[7]], starts)  # the last run kept its start
    assert (kept.loc[7, "tsne_x"], kept.loc[7, "pca_y"]) == (kept.loc[15, "tsne_x"], kept.loc[15, "pca_y"])


def test_shorter_prompts_are_stretched_so_that_length_alone_does_not_move_a_point():
    """A prompt and the same prompt stretched to more rows are one point."""
    shorter, longer = PROMPTS[0][:2], stretched(PROMPTS[0][:2], 3)
    table, perplexity = projection_table(
        LABELS, [shorter, longer, *PROMPTS[2:]], [shorter, longer, *STARTS[2:]]
    )
    columns = ["tsne_x", "tsne_y", "pca_x", "pca_y"]
    assert table.loc[0, columns].tolist() == table.loc[1, columns].tolist()
    assert perplexity == pytest.approx((13 - 1) / 3)
