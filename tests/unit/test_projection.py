import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA

from softprompt.analysis.projection import projection_table

GENERATOR = torch.Generator().manual_seed(0)
PROMPTS = [torch.randn(3, 4, generator=GENERATOR) + 10 * (i // 4) for i in range(8)]
LABELS = pd.DataFrame({"task": ["a"] * 4 + ["b"] * 4})


def test_it_is_deterministic_and_separates_clusters():
    first, perplexity = projection_table(LABELS, PROMPTS)
    second, _ = projection_table(LABELS, PROMPTS)
    pd.testing.assert_frame_equal(first, second)
    assert perplexity == pytest.approx(7 / 3)
    for kind in ("tsne", "pca"):
        points = first[[f"{kind}_x", f"{kind}_y"]].to_numpy()
        centres = points[:4].mean(0), points[4:].mean(0)
        spread = max(points[:4].std(), points[4:].std())
        assert np.linalg.norm(centres[0] - centres[1]) > spread


def test_pca_is_scikit_learn_s_on_rows_end_to_end():
    flat = np.stack([prompt.flatten().numpy() for prompt in PROMPTS])
    expected = PCA(2, random_state=0).fit_transform(flat)
    table, _ = projection_table(LABELS, PROMPTS)
    np.testing.assert_allclose(np.abs(table[["pca_x", "pca_y"]]), np.abs(expected), rtol=1e-3, atol=1e-4)


def test_shorter_prompts_are_padded():
    table, _ = projection_table(LABELS, [*PROMPTS[:7], PROMPTS[7][:1]])
    assert table[["tsne_x", "pca_x"]].notna().all().all()
