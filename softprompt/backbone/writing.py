"""What the model writes behind a sequence of embeddings, greedily."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbone.base import Backbone, head_at
from softprompt.backbone.lens import batches_of_equal_length

SEQUENCES_AT_ONCE = 16


@torch.no_grad()
def write_greedily(
    backbone: Backbone, sequences: Sequence[Float[Tensor, "_ d"]], counts: Sequence[int]
) -> list[list[int]]:
    """The most likely next token, again and again.

    Args:
        backbone: the model.
        sequences: input embeddings of at least one row, which may differ in their number of rows.
        counts: how many tokens to write at most behind each of them. Fewer are written where the model's context ends.

    Returns:
        For each sequence the ids of the tokens written before the end-of-sequence token.
    """
    written: list[list[int]] = [[] for _ in sequences]
    for indices in batches_of_equal_length([len(sequence) for sequence in sequences], SEQUENCES_AT_ONCE):
        count = max(counts[i] for i in indices)
        if backbone.context_length is not None:
            count = min(count, backbone.context_length - len(sequences[indices[0]]))
        behind = torch.stack([backbone.behind_bos(sequences[i]) for i in indices])
        tokens = _continue(backbone, behind, count)
        for index, of_sequence in zip(indices, tokens, strict=True):
            written[index] = of_sequence[: counts[index]]
    return written


def _continue(backbone: Backbone, embedded: Float[Tensor, "B L d"], count: int) -> list[list[int]]:
    """At most `count` tokens behind each of B sequences of equal length."""
    model, end = backbone.model, backbone.tokenizer.eos_token_id
    sequences, length = embedded.shape[:2]
    inputs = {"inputs_embeds": embedded.to(model.device, backbone.dtype)}
    cache = None
    written = torch.empty(sequences, 0, dtype=torch.long, device=model.device)
    while written.shape[1] < count and not (written == end).any(1).all():
        width = length if cache is None else 1
        last = torch.arange(sequences, device=model.device) * width + width - 1  # of the flattened input
        seen = torch.ones(sequences, length + written.shape[1], dtype=torch.long, device=model.device)
        with head_at(model, last):
            output = model(**inputs, attention_mask=seen, past_key_values=cache, use_cache=True)
        token = output.logits[0].argmax(-1)  # [1, B, V] -> [B]
        cache, inputs = output.past_key_values, {"input_ids": token[:, None]}
        written = torch.cat([written, token[:, None]], 1)
    return [ids[: ids.index(end)] if end in ids else ids for ids in written.tolist()]
