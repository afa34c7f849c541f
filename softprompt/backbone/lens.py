"""Logit lens: what the model predicts at a prompt's own positions (nostalgebraist 2020)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from softprompt.backbone.base import Backbone

PROMPTS_AT_ONCE = 8  # the distributions of 8 prompts of 15 rows over 250,000 tokens take 120 MB


def middle_layer(backbone: Backbone) -> int:
    """The layer at half of the model's depth, counted from 1."""
    return max(1, int(backbone.model.config.num_hidden_layers) // 2)


@torch.no_grad()
def logit_lens(
    backbone: Backbone, prompts: Sequence[Float[Tensor, "_ d"]], layer: int | None = None
) -> list[Float[Tensor, "V"]] | None:
    """The model's next-token distribution at each row of a prompt, averaged over the rows.

    A prompt stands alone, with nothing behind it, and nothing in front of it but what is in front of every prompt.

    Args:
        backbone: the model.
        prompts: matrices of at least one row, which may differ in their number of rows.
        layer: after which layer, counted from 1, the final norm and the head are applied. None: after the last one.

    Returns:
        For each prompt, one probability per row of the embedding table, float32 on the CPU. None if a layer is given and
        the module in front of the head is not found.
    """
    model = backbone.model
    norm = None if layer is None else _module_before_head(backbone)
    if layer is not None and norm is None:
        return None
    means: list[Tensor] = [torch.empty(0)] * len(prompts)
    for indices in batches_of_equal_length([len(prompt) for prompt in prompts], PROMPTS_AT_ONCE):
        behind = [backbone.behind_bos(prompts[i]) for i in indices]
        rows = torch.stack(behind).to(model.device, backbone.dtype)  # [P, n, d]; n + 1 behind a token
        output = model(inputs_embeds=rows, use_cache=False, output_hidden_states=layer is not None)
        logits = (
            output.logits
            if norm is None
            else model.get_output_embeddings()(norm(output.hidden_states[layer]))
        )  # [P, n, V]
        of_rows = logits[:, -len(prompts[indices[0]]) :]  # [P, n, V]
        mean = of_rows.float().softmax(-1).mean(1).cpu()  # [P, V]
        for index, of_prompt in zip(indices, mean, strict=True):
            means[index] = of_prompt
    return means


def batches_of_equal_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices of equal lengths, at most `size` together, so that a batch needs no padding."""
    return [
        indices[start : start + size]
        for length in sorted(set(lengths))
        for indices in [[i for i, other in enumerate(lengths) if other == length]]
        for start in range(0, len(indices), size)
    ]


def _module_before_head(backbone: Backbone) -> nn.Module | None:
    """The module whose output the head reads, in most models the final norm.

    Found by its output and not by its name, because names differ between model families.
    """
    made: list[tuple[nn.Module, Tensor]] = []
    read: list[Tensor] = []
    head = backbone.model.get_output_embeddings()
    leaves = [m for m in backbone.model.modules() if not any(m.children()) and m is not head]
    handles = [
        module.register_forward_hook(
            lambda module, _, output: made.append((module, output)) if isinstance(output, Tensor) else None
        )
        for module in leaves
    ]
    handles.append(head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])))
    try:
        rows = backbone.embed([0]).to(backbone.model.device, backbone.dtype)
        backbone.model(inputs_embeds=rows[None], use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    # By address, because a model may hand the head a view. The first module: a dropout after it returns its input.
    return next(
        (
            module
            for module, output in made
            if output.data_ptr() == read[0].data_ptr() and output.shape == read[0].shape
        ),
        None,
    )
