"""Checks that a model which no implementation knows by name computes what the generic one assumes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.backbone.base import Backbone
from softprompt.data.batch import Batch
from softprompt.errors import UserError, first_line

# Allowed difference, as a share of the logits' deviation from their mean. bfloat16 differs by a few percent.
TOLERANCE = {torch.float32: 0.01, torch.bfloat16: 0.25}


@torch.no_grad()
def check_generic(backbone: Backbone) -> None:
    """Compare the logits behind a prompt with the model's own forward over the whole sequence.

    They are equal if the model is causal and, for `SharedPrefixBackbone`, its cache can be shared.

    Raises:
        UserError: they are not, the model has no such cache or takes no embeddings, or its config says that it is not causal. (In bfloat16 the
            difference that bidirectional attention makes may be within the tolerance.)
    """
    config = backbone.model.config
    name = f"model.id={backbone.id} ({type(backbone.model).__name__})"
    if getattr(config, "use_bidirectional_attention", None) in (True, "all"):
        raise UserError(
            f"{name}: cannot be used, because its attention is bidirectional; softprompt needs a causal language model"
        )
    first = backbone.table_rows // 2
    prompt, text, answer = (
        [(first + i) % backbone.table_rows for i in part] for part in ((0, 1), (2, 3), (4, 5))
    )
    try:
        batch = Batch.of_pairs([(text, answer), (text[:1], answer)], [0, 0])
        # [A, V] -> [2, V], of the first text's answer
        shared = backbone.answer_logits([backbone.embed(prompt)], batch)[:2].float()
        ids = torch.tensor([[*prompt, *text, *answer[:-1]]], device=shared.device)  # [1, 5]
        # Each of the answer's tokens from what stands before it alone, so that a model that looks ahead differs.
        own = torch.stack([_last_logits(backbone, ids[:, :-1]), _last_logits(backbone, ids)])  # [2, V]
    except (AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"{name}: cannot be used, because it does not take a prompt of embeddings ({first_line(error)}); models of type "
            f"{config.model_type} are not supported"
        ) from error
    difference = (shared - own).norm() / (own - own.mean(-1, keepdim=True)).norm().clamp(min=1e-9)
    if not torch.isfinite(own).all():
        return  # the weights are not finite, which is reported where the first loss is computed
    if not difference <= TOLERANCE[backbone.dtype]:
        raise UserError(
            f"{name}: cannot be used, because what it writes behind a prompt differs from its own forward by "
            f"{difference:.0%}; it may not be a causal language model"
        )


def _last_logits(backbone: Backbone, ids: Int[Tensor, "1 L"]) -> Float[Tensor, "V"]:
    """The model's own logits behind these tokens."""
    output = backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    logits: Tensor = output.logits[0, -1].float()
    return logits
