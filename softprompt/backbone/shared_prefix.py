"""Answer logits for any causal LM: the prompt runs through the model once and its key-value cache is shared.

A prompt in front of a causal model is a prefix: its hidden states do not depend on what follows. So the prompt is run
once per step instead of once per sequence, and every sequence attends to the same keys and values. Gradients flow back
through the cache. The head, which is half of a multilingual model's weights, is applied at the answer positions only.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from softprompt.backbone.base import Backbone, head_at
from softprompt.data.batch import Batch


class SharedPrefixBackbone(Backbone):
    """The backbone contract for any causal LM whose cache can be repeated over a batch."""

    def _answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """See `Backbone._answer_logits`. Prompts of equal length run side by side, each length in a forward of its own."""
        rows = torch.tensor([len(prompt) for prompt in prompts])
        prompt_rows = rows[batch.prompt_of[batch.text_of]]  # [S]
        tokens_of_answer = torch.split(torch.arange(len(batch.answer_ids)), batch.answer_lengths.tolist())
        logits: list[Tensor] = []
        order: list[Tensor] = []
        for length in sorted(set(prompt_rows.tolist())):
            answers = (prompt_rows == length).nonzero()[:, 0].tolist()
            logits.append(self._logits_of_equal_length(prompts, batch, answers))
            order.extend(tokens_of_answer[answer] for answer in answers)
        if len(logits) == 1:
            return logits[0]
        # Back into the order of the batch.
        return torch.cat(logits)[torch.argsort(torch.cat(order)).to(logits[0].device)]  # [A, V]

    def _logits_of_equal_length(
        self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch, answers: list[int]
    ) -> Float[Tensor, "A V"]:
        """`_answer_logits` of some of the batch's answers, whose prompts all have the same number of rows."""
        device = self.model.device
        texts, read_ids = torch.split(batch.text_ids, batch.text_lengths.tolist()), batch.read_ids
        # One sequence per answer: the text, then the answer without its last token, which is predicted and never read.
        sequences = [torch.cat([texts[int(batch.text_of[i])], read_ids[i]]) for i in answers]
        lengths = torch.tensor([len(sequence) for sequence in sequences])  # [B]
        padded = pad_sequence(sequences, batch_first=True).to(device)  # [B, L], padded on the right
        present = torch.arange(padded.shape[1]) < lengths[:, None]  # [B, L]

        prompt_of = batch.prompt_of[batch.text_of[answers]].tolist()
        used = sorted(set(prompt_of))
        prefix = torch.stack([prompts[i] for i in used]).to(device, self.dtype)  # [P, n, d]
        mask = (
            torch.cat([present.new_ones(len(answers), prefix.shape[1]), present], 1).long().to(device)
        )  # [B, n + L]
        cache = None
        if prefix.shape[1]:
            cache = self.model.base_model(inputs_embeds=prefix, use_cache=True).past_key_values
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
