import pandas as pd
import torch

from softprompt.analysis.displacement import displacements, mean_displacements, random_directions, random_step

START = torch.tensor([[1.0, 1.0]])
PROMPTS = [START + torch.tensor([[2.0, 0.0]]), START + torch.tensor([[0.0, 4.0]]), START * 3]
LABELS = pd.DataFrame({"task": ["cb", "cb", "rte"], "variant": ["text"] * 3})


def test_displacements_are_tuned_minus_initial():
    assert [d.tolist() for d in displacements(PROMPTS, [START] * 3)] == [[[2, 0]], [[0, 4]], [[2, 2]]]


def test_the_mean_is_over_the_runs_that_share_a_start():
    means = mean_displacements(LABELS, PROMPTS, [START] * 3)
    assert {key: mean.tolist() for key, mean in means.items()} == {("cb", "text"): [[1.0, 2.0]]}


def test_starts_that_differ_have_no_mean():
    assert mean_displacements(LABELS, PROMPTS, [START, -START, START]) == {}


def test_random_directions_have_the_shapes_of_the_displacements():
    first, second = random_directions([torch.zeros(2, 3), torch.zeros(1, 3)])
    assert first.shape == (2, 3) and second.shape == (1, 3)
    assert torch.equal(first, random_directions([first])[0])


def test_a_random_step_is_as_long_as_tunings_step_in_every_row():
    initial = torch.ones(2, 4)
    prompt = initial + torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0] * 4])
    step = random_step(prompt, initial, "a") - initial
    torch.testing.assert_close(step.norm(dim=1), torch.tensor([5.0, 0.0]))
    assert not torch.allclose(step, prompt - initial)
    assert torch.equal(random_step(prompt, initial, "a") - initial, step)
    assert not torch.equal(random_step(prompt, initial, "b") - initial, step)
