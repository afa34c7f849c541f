"""The model's own forward is the reference."""

import torch

from softprompt.backbone import Backbone
from softprompt.backbone.lens import batches_of_equal_length, logit_lens, middle_layer


def test_batches_have_one_length_and_at_most_a_size():
    assert batches_of_equal_length([2, 3, 2, 2], 2) == [[0, 2], [3], [1]]


def test_a_lens_is_the_models_mean_distribution_at_the_rows(backbone: Backbone) -> None:
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randn(rows, backbone.width, generator=generator) for rows in (3, 5, 3)]
    means = logit_lens(backbone, prompts)
    assert means is not None
    for prompt, mean in zip(prompts, means, strict=True):
        logits = backbone.model(inputs_embeds=prompt[None]).logits[0]
        torch.testing.assert_close(mean, logits.softmax(-1).mean(0), rtol=1e-4, atol=1e-6)


def test_a_middle_layer_is_read_through_the_final_norm_and_the_head(backbone: Backbone) -> None:
    prompt = torch.randn(4, backbone.width, generator=torch.Generator().manual_seed(0))
    assert middle_layer(backbone) == 1  # of two
    (mean,) = logit_lens(backbone, [prompt], 1) or []
    model, core = backbone.model, backbone.model.base_model
    hidden = model(inputs_embeds=prompt[None], output_hidden_states=True).hidden_states[1]
    norm = core.norm if hasattr(core, "norm") else core.ln_f
    expected = model.get_output_embeddings()(norm(hidden))[0].softmax(-1).mean(0)
    torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-6)


def test_without_a_module_in_front_of_the_head_there_is_no_middle_layer(
    backbone: Backbone,
) -> None:
    head = backbone.model.get_output_embeddings()
    # The head's input is then made by no module.
    head.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 2,))
    assert logit_lens(backbone, [torch.zeros(2, backbone.width)], 1) is None
