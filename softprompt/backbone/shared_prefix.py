"""Prompts and a batch in, logits at the answer positions out: the contract, and the way that any causal LM allows.

A prompt in front of a causal model is a prefix: its hidden states depend on nothing that follows. So it is
run once and every sequence attends to the same keys and values, instead of once per sequence; gradients
flow back through the cache. And the head, which in a multilingual model is half of the weights, is applied
at the answer positions alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from softprompt.data.batch import Batch


class Backbone:
    """A frozen causal LM with its tokenizer. Not an `nn.Module`: it is in no checkpoint and no optimiser."""

    def __init__(self, model: Any, tokenizer: Any, id: str, revision: str | None) -> None:
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.id = id
        self.revision = revision

    @property
    def width(self) -> int:
        """d, the width of an embedding."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def dtype(self) -> torch.dtype:
        """What the frozen weights are kept in."""
        return self.model.dtype  # type: ignore[no-any-return]

    @property
    def context_length(self) -> int | None:
        """The longest sequence the model was made for; None where its config does not say."""
        config = self.model.config
        for name in ("max_position_embeddings", "n_positions", "seq_length"):
            if isinstance(length := getattr(config, name, None), int):
                return length
        return None

    def to(self, device: torch.device) -> None:
        """Move the weights."""
        self.model.to(device)

    @torch.no_grad()
    def embed(self, ids: list[int]) -> Float[Tensor, "n d"]:
        """The input embeddings of tokens, float32 on the CPU."""
        table = self.model.get_input_embeddings()
        embedded: Tensor = table(torch.tensor(ids, dtype=torch.long, device=table.weight.device))
        return embedded.float().cpu()

    def embedding_chunks(self, rows: int = 16384) -> Iterator[Float[Tensor, "_ d"]]:
        """The input embeddings of the tokenizer's vocabulary, in order, float32 on the CPU, so many rows at a time.

        A multilingual table takes a gigabyte in float32. It may have spare rows, which are left out.
        """
        size = min(len(self.tokenizer), self.model.get_input_embeddings().num_embeddings)
        for start in range(0, size, rows):
            yield self.embed(list(range(start, min(start + rows, size))))

    def embedding_scale(self) -> float:
        """Standard deviation of the embedding table's entries."""
        count, total, squares = 0, 0.0, 0.0
        for chunk in self.embedding_chunks():
            count += chunk.numel()
            total += chunk.sum(dtype=torch.float64).item()
            squares += chunk.double().square().sum().item()
        return float(((squares - total**2 / count) / (count - 1)) ** 0.5)

    @torch.no_grad()
    def feed_forward_activity(self, prompt: Float[Tensor, "n d"]) -> Bool[Tensor, "F"] | None:
        """Which feed-forward neurons of all layers fire (are above 0) at one end-of-sequence token behind a prompt.

        A neutral token, so that what fires is the prompt's doing (after Su et al. 2022). None where the
        activation functions of the model are not found.
        """
        names = ("act_fn", "act", "gelu_impl", "activation_fn")
        modules = [m for name, m in self.model.named_modules() if name.rpartition(".")[2] in names]
        if not modules:
            return None
        seen: list[Tensor] = []
        handles = [
            module.register_forward_hook(
                lambda _, __, output: seen.append(output.reshape(-1, output.shape[-1])[-1] > 0)
            )
            for module in modules
        ]
        try:
            probe = self.embed([self.tokenizer.eos_token_id])
            rows = torch.cat([prompt, probe]).to(self.model.device, self.dtype)
            self.model.base_model(inputs_embeds=rows[None], use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return torch.cat(seen).cpu()

    def as_read(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Rows of embedding space as the first block meets them, float32 on the CPU: here as they are."""
        return rows

    def answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """Logits that predict each answer token of the batch, in the batch's order, in the weights' dtype.

        `prompts` are float32 and cast at this seam; a prompt of no rows is no prompt. Prompts of one length
        run side by side, each length in a forward of its own.
        """
        rows = torch.tensor([len(prompt) for prompt in prompts])
        lengths = rows[batch.prompt_of[batch.text_of]]
        logits: list[Tensor] = []
        places: list[Tensor] = []
        tokens_of_answer = torch.split(torch.arange(len(batch.answer_ids)), batch.answer_lengths.tolist())
        for length in sorted(set(lengths.tolist())):
            members = (lengths == length).nonzero()[:, 0].tolist()
            logits.append(self._one_length(prompts, batch, members))
            places.extend(tokens_of_answer[member] for member in members)
        if len(logits) == 1:
            return logits[0]
        together = torch.cat(logits)
        return together[torch.argsort(torch.cat(places)).to(together.device)]

    def _one_length(
        self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch, members: list[int]
    ) -> Float[Tensor, "A V"]:
        """`answer_logits` of the answers `members`, whose prompts all have the same number of rows."""
        device = self.model.device
        texts, reads = torch.split(batch.text_ids, batch.text_lengths.tolist()), batch.read_ids
        sequences = [torch.cat([texts[int(batch.text_of[m])], reads[m]]) for m in members]
        padded = pad_sequence(sequences, batch_first=True).to(device)
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        present = torch.arange(padded.shape[1]) < lengths[:, None]

        prompt_of = batch.prompt_of[batch.text_of[members]].tolist()
        used = sorted(set(prompt_of))
        prefix = torch.stack([prompts[i] for i in used]).to(device, self.dtype)
        mask = torch.cat([present.new_ones(len(members), prefix.shape[1]), present], 1).long().to(device)
        cache = None
        if prefix.shape[1]:
            cache = self.model.base_model(inputs_embeds=prefix, use_cache=True).past_key_values
            if len(used) == 1:
                cache.batch_repeat_interleave(len(members))
            else:
                rows = [used.index(i) for i in prompt_of]
                cache.batch_select_indices(torch.tensor(rows, device=device))

        ends = lengths + torch.arange(len(members)) * padded.shape[1]  # in the flattened [B·L]
        answer_lengths = batch.answer_lengths[members]
        positions = torch.cat(
            [torch.arange(e - a, e) for e, a in zip(ends.tolist(), answer_lengths.tolist(), strict=True)]
        )
        with keep_before_head(self.model, positions.to(device)):
            output = self.model(
                input_ids=padded, attention_mask=mask, past_key_values=cache, use_cache=cache is not None
            )
        logits: Tensor = output.logits[0]
        return logits


@contextmanager
def keep_before_head(model: Any, positions: Int[Tensor, "A"]) -> Iterator[None]:
    """Within, the model's head sees only these positions of its flattened `[B·L]` input.

    The model's own forward still does what it does around the head (scaling, soft-capping), which taking the
    hidden states from its base model would miss.
    """

    def select(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *rest = inputs
        return (hidden.flatten(0, 1).index_select(0, positions)[None], *rest)

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()
