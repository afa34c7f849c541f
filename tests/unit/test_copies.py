import torch

from softprompt.analysis.copies import first_of_each, prompt_key


def test_only_exactly_equal_prompts_have_the_same_key():
    prompt = torch.arange(6.0).reshape(2, 3)
    assert prompt_key(prompt) == prompt_key(prompt.clone())
    assert prompt_key(prompt) != prompt_key(prompt.reshape(3, 2))
    assert prompt_key(prompt) != prompt_key(torch.nextafter(prompt, torch.tensor(9.0)))


def test_the_first_of_each_in_order():
    assert first_of_each(["b", "a", "b", "c", "a"]) == [0, 1, 3]
    assert first_of_each([]) == []
