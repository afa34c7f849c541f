"""Answer logits for any causal LM: the prompt runs through the model once and its key-value cache is shared.

A prompt in front of a causal model is a prefix: its hidden states do not depend on what follows. So the prompt is run
once per step instead of once per sequence, and every sequence attends to the same keys and values. Gradients flow back
through the cache. The head, which is half of a multilingual model's weights, is applied at the answer positions only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from softprompt.backbone.base import Backbone, head_at
from softprompt.data.batch import Batch


class SharedPrefixBackbone(Backbone):
    """The backbone contract for any causal LM whose cache can be repeated over a batch."""

    def _answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """See `Backbone._answer_logits`."""
        return self._logits([len(prompt) for prompt in prompts], batch, lambda used: self._run(prompts, used))

    def prefix_logits(self, prefixes: Sequence[Float[Tensor, "_ D"]], batch: Batch) -> Float[Tensor, "A V"]:
        """See `Backbone.prefix_logits`."""
        return self._logits(
            [len(prefix) for prefix in prefixes], batch, lambda used: self._fill(prefixes, used)
        )

    def _run(self, prompts: Sequence[Float[Tensor, "_ d"]], used: list[int]) -> Any:
        """The cache after those prompts, which have equal numbers of rows."""
        return self._cache_of(torch.stack([prompts[i] for i in used]))

    def _fill(self, prefixes: Sequence[Float[Tensor, "_ D"]], used: list[int]) -> Any:
        """A cache that holds those prefixes, which have equal numbers of rows."""
        cache = DynamicCache(config=self.model.config)
        layers = [self.split_prefix(prefixes[i].to(self.model.device, self.dtype)) for i in used]
        for index in range(len(self.cache_shapes)):
            # Of each prefix [n, H, e] -> [P, H, n, e]
            keys, values = (
                torch.stack([of_layers[index][kind] for of_layers in layers]).transpose(1, 2)
                for kind in (0, 1)
            )
            cache.update(keys, values, index)
        return cache

    def _logits(
        self, lengths: Sequence[int], batch: Batch, make_cache: Callable[[list[int]], Any]
    ) -> Float[Tensor, "A V"]:
        """Answer logits behind caches. Prompts of equal length are run side by side, each length in a forward of its own.

        Args:
            lengths: rows of each prompt.
            make_cache: makes the cache of some prompts of equal length, given by their indices.
        """
        prompt_rows = torch.tensor(lengths)[batch.prompt_of[batch.text_of]]  # [S]
        tokens_of_answer = torch.split(torch.arange(len(batch.answer_ids)), batch.answer_lengths.tolist())
        logits: list[Tensor] = []
        order: list[Tensor] = []
        for length in sorted(set(prompt_rows.tolist())):
            answers = (prompt_rows == length).nonzero()[:, 0].tolist()
            logits.append(self._logits_of_equal_length(length, batch, answers, make_cache))
            order.extend(tokens_of_answer[answer] for answer in answers)
        if len(logits) == 1:
            return logits[0]
        # Back into the order of the batch.
        return torch.cat(logits)[torch.argsort(torch.cat(order)).to(logits[0].device)]  # [A, V]

    def _logits_of_equal_length(
        self, rows: int, batch: Batch, answers: list[int], make_cache: Callable[[list[int]], Any]
    ) -> Float[Tensor, "A V"]:
        """`_logits` of some of the batch's answers, whose prompts all have this number of rows."""
        device = self.model.device
        texts, read_ids = torch.split(batch.text_ids, batch.text_lengths.tolist()), batch.read_ids
        # One sequence per answer: the text, then the answer without its last token, which is predicted and never read.
        sequences = [torch.cat([texts[int(batch.text_of[i])], read_ids[i]]) for i in answers]
        lengths = torch.tensor([len(sequence) for sequence in sequences])  # [B]
        padded = pad_sequence(sequences, batch_first=True).to(device)  # [B, L], padded on the right
        present = torch.arange(padded.shape[1]) < lengths[:, None]  # [B, L]
        mask = torch.cat([present.new_ones(len(answers), rows), present], 1).long().to(device)  # [B, n + L]
        cache = None
        if rows:
            prompt_of = batch.prompt_of[batch.text_of[answers]].tolist()
            used = sorted(set(prompt_of))
            cache = make_cache(used)
            # In every layer keys and values [P, H, n, e] -> [B, H, n, e]
            if len(used) == 1:
                cache.batch_repeat_interleave(len(answers))
            else:
                cache.batch_select_indices(torch.tensor([used.index(i) for i in prompt_of], device=device))

        positions = predicting_positions(lengths, batch.answer_lengths[answers], padded.shape[1])  # [A]
        with head_at(self.model, positions.to(device)):
            output = self.model(
                input_ids=padded, attention_mask=mask, past_key_values=cache, use_cache=cache is not None
            )
        logits: Tensor = output.logits[0]  # [1, A, V] -> [A, V]
        return logits


def predicting_positions(
    lengths: Int[Tensor, "B"], answer_lengths: Int[Tensor, "B"], width: int
) -> Int[Tensor, "A"]:
    """Where the flattened `[B, width]` input predicts answer tokens: the last `answer_lengths` tokens of each row."""
    ends = lengths + torch.arange(len(lengths)) * width
    return torch.cat(
        [
            torch.arange(end - count, end)
            for end, count in zip(ends.tolist(), answer_lengths.tolist(), strict=True)
        ]
    )
