"""Checks that a model which no implementation knows by name computes what the generic one assumes."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.backbone.base import Backbone
from softprompt.data.batch import Batch
from softprompt.errors import UserError, first_line

# Allowed difference, as a share of the logits' deviation from their mean. bfloat16 differs by a few percent.
TOLERANCE = {torch.float32: 0.01, torch.bfloat16: 0.25}
# The same for logits in front of a token that is exchanged. Sequences of equal length are rounded alike.
LOOK_AHEAD = 0.01


def check_generic(backbone: Backbone) -> None:
    """Compare the logits behind a prompt with the model's own forward over the whole sequence.

    They are equal if the model is causal and, for `SharedPrefixBackbone`, its cache can be shared.

    Raises:
        UserError: they are not, the model looks ahead, has no such cache, takes no embeddings, reads more of a token than
            its embedding, or gives a prompt no gradient.
    """
    config = backbone.model.config
    name = f"model.id={backbone.id} ({type(backbone.model).__name__})"
    if reads_token_ids(config.get_text_config()):
        raise UserError(
            f"{name}: cannot be used, because its layers look up token ids besides the embeddings, and the rows of a prompt "
            "have none"
        )
    first = backbone.table_rows // 2
    tokens, text, answer = (
        [(first + i) % backbone.table_rows for i in part] for part in ((0, 1), (2, 3), (4, 5))
    )
    try:
        batch = Batch.of_pairs([(text, answer), (text[:1], answer)], [0, 0])
        prompt = backbone.embed(tokens).requires_grad_()
        # [A, V] -> [2, V], of the first text's answer
        shared = backbone.answer_logits([prompt], batch)[:2].float()
        torch.autograd.grad(shared.square().sum(), prompt)
        shared = shared.detach()
        ids = torch.tensor([[*tokens, *text, *answer[:-1]]], device=shared.device)  # [1, 5]
        own = _own_logits(backbone, ids)[-2:]  # [2, V], where the answer's tokens are predicted
        other = ids.clone()
        other[0, -1] = first
        behind_other = _own_logits(backbone, other)[-2:]
    except Exception as error:  # of any kind: what runs is the model's own code
        raise UserError(
            f"{name}: cannot be used, because it does not take a prompt of embeddings ({first_line(error)}); models of type "
            f"{config.model_type} are not supported"
        ) from error
    if not torch.isfinite(own).all():
        return  # the weights are not finite, which is reported where the first loss is computed
    scale = (own - own.mean(-1, keepdim=True)).norm(dim=-1).clamp(min=1e-9)  # [2]
    # The first of the two stands before the token that was exchanged.
    if not (behind_other - own)[0].norm() <= LOOK_AHEAD * scale[0]:
        raise UserError(
            f"{name}: cannot be used, because it looks ahead; softprompt needs a causal language model"
        )
    difference = (shared - own).norm() / scale.norm()
    if not difference <= TOLERANCE[backbone.dtype]:
        raise UserError(
            f"{name}: cannot be used, because what it writes behind a prompt differs from its own forward by "
            f"{difference:.0%}; models of type {config.model_type} are not supported"
        )


def reads_token_ids(config: Any) -> bool:
    """True if layers of a model with this text config read token ids: per-layer inputs, or experts chosen by a hash."""
    return bool(
        getattr(config, "hidden_size_per_layer_input", None)  # Gemma 3n and 4
        or getattr(config, "ple_layer_ids", None)  # Qwen 4
        or "hash_moe" in (getattr(config, "mlp_layer_types", None) or ())  # DeepSeek V4
    )


@torch.no_grad()
def _own_logits(backbone: Backbone, ids: Int[Tensor, "1 L"]) -> Float[Tensor, "L V"]:
    """The model's own logits behind each of these tokens."""
    output = backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    logits: Tensor = output.logits[0].float()  # [1, L, V] -> [L, V]
    return logits
