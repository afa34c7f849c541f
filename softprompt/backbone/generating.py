"""Greedy generation behind prompts and texts, by the model's own `generate`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import GenerationConfig

from softprompt.backbone.base import Backbone


@torch.no_grad()
def generate(
    backbone: Backbone,
    prompts: Sequence[Float[Tensor, "_ d"]],
    texts: Sequence[Sequence[int]],
    prompt_of: Sequence[int],
    count: int,
) -> list[list[int]]:
    """What the model writes behind each of B texts with a prompt in front, at each place the most likely token.

    Args:
        backbone: the model.
        prompts: matrices, which may differ in their number of rows.
        texts: token ids of each text.
        prompt_of: index of the prompt in front of each text.
        count: how many tokens to write at most.

    Returns:
        For each text the token ids before the end-of-sequence token.
    """
    model, end = backbone.model, backbone.tokenizer.eos_token_id
    moved = [backbone.behind_bos(prompt).to(model.device, backbone.dtype) for prompt in prompts]
    table = model.get_input_embeddings()
    sequences = [
        torch.cat([moved[prompt], table(torch.tensor(text, device=model.device))])  # [n + L, d]
        for text, prompt in zip(texts, prompt_of, strict=True)
    ]
    width = max(map(len, sequences))
    embedded = torch.stack(  # [B, width, d], padded on the left
        [torch.cat([s.new_zeros(width - len(s), s.shape[1]), s]) for s in sequences]
    )
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=model.device)
    present = torch.arange(width, 0, -1, device=model.device) <= lengths[:, None]  # [B, width]
    plain = GenerationConfig(max_new_tokens=count, do_sample=False, eos_token_id=end, pad_token_id=end)
    # What a config leaves open is taken from the model's own one, which may penalise repetition, for example.
    own, model.generation_config = model.generation_config, plain
    try:
        written = model.generate(
            inputs_embeds=embedded, attention_mask=present.long(), generation_config=plain
        )
    finally:
        model.generation_config = own
    return [ids[: ids.index(end)] if end in ids else ids for ids in written.tolist()]
