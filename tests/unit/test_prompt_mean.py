import subprocess
import sys

import pytest
import torch

from softprompt.analysis.prompt_mean import mean_prompt, similarity_weights


def test_weights_are_cosines_of_mean_rows_without_the_negative_ones():
    like = torch.tensor([[2.0, 0.0], [0.0, 0.0]])  # its mean row is along the first axis
    prompts = [
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[3.0, 8.0], [3.0, 0.0], [3.0, 4.0]]),  # mean row (3, 4): cosine 0.6
        torch.tensor([[-1.0, 1.0]]),
        torch.tensor([[0.0, 5.0]]),
    ]
    assert similarity_weights(prompts, like) == pytest.approx([1 / 1.6, 0.6 / 1.6, 0.0, 0.0])


def test_no_weight_is_above_0_if_no_cosine_is():
    like = torch.tensor([[1.0, 0.0]])
    assert similarity_weights([torch.tensor([[-1.0, 0.0]]), torch.tensor([[0.0, 1.0]])], like) == [0.0, 0.0]


def test_the_mean_repeats_shorter_prompts_and_cuts_longer_ones():
    short, long = torch.tensor([[4.0], [8.0]]), torch.tensor([[40.0], [80.0], [120.0], [160.0]])
    assert mean_prompt([short, long], [0.75, 0.25], 3).tolist() == [[13.0], [26.0], [33.0]]
    assert mean_prompt([short, long], [0.0, 1.0], 5).flatten().tolist() == [40, 80, 120, 160, 40]


def test_training_can_use_it_without_pandas():
    code = "import sys, softprompt.initialisers; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
