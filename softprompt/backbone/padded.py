"""Answer logits for a causal LM whose state cannot be shared: every sequence is run with its prompt in front.

State-space and hybrid models (Mamba, Jamba, Qwen3-Next, ...) have no key-value cache that can be repeated over a batch. Here each
sequence is prompt, text and answer, padded on the right, where a causal model does not see the padding. It costs more than
a shared prefix, because the prompt runs once per sequence.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from softprompt.backbone.base import Backbone, head_at
from softprompt.backbone.shared_prefix import predicting_positions
from softprompt.data.batch import Batch
from softprompt.errors import UserError


class PaddedBackbone(Backbone):
    """The backbone contract for any causal LM that takes `inputs_embeds`."""

    notice = (
        "this model's state cannot be shared between texts: every text is computed with the prompt's rows in front of it, "
        "which is slower than one computation of the prompt per step"
    )

    def _answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """See `Backbone._answer_logits`."""
        device = self.model.device
        texts, read_ids = torch.split(batch.text_ids, batch.text_lengths.tolist()), batch.read_ids
        table = self.model.get_input_embeddings()
        moved = [prompt.to(device, self.dtype) for prompt in prompts]
        sequences = []
        for answer, text in enumerate(batch.text_of.tolist()):
            # The answer's last token is predicted and never read.
            tokens = table(torch.cat([texts[text], read_ids[answer]]).to(device))
            sequences.append(torch.cat([moved[int(batch.prompt_of[text])], tokens]))  # [n + M, d]
        lengths = torch.tensor([len(sequence) for sequence in sequences])  # [B]
        padded = pad_sequence(sequences, batch_first=True)  # [B, L, d]
        present = torch.arange(padded.shape[1]) < lengths[:, None]  # [B, L]
        positions = predicting_positions(lengths, batch.answer_lengths, padded.shape[1])  # [A]
        with head_at(self.model, positions.to(device)):
            output = self.model(
                inputs_embeds=padded, attention_mask=present.long().to(device), use_cache=False
            )
        logits: Tensor = output.logits[0]  # [1, A, V] -> [A, V]
        return logits

    def prefix_logits(self, prefixes: Sequence[Float[Tensor, "_ D"]], batch: Batch) -> Float[Tensor, "A V"]:
        """Raises a `UserError`: the model has no cache that a prefix could stand in."""
        raise UserError(
            f"model.id={self.id}: has no key-value cache, which method=prefix needs; use method=prompt"
        )
