"""Greedy writing: the model's own forward, without a cache, is the reference."""

import torch

from softprompt.analysis.elicitation import FURTHER_TOKENS, in_place_of_text, token_counts
from softprompt.backbone import Backbone
from softprompt.backbone.writing import write_greedily
from tests.conftest import make_backbone


def written_alone(backbone: Backbone, sequence: torch.Tensor, count: int) -> list[int]:
    """One sequence, one token after another, all of it read again for each."""
    tokens: list[int] = []
    for _ in range(count):
        token = int(backbone.model(inputs_embeds=sequence[None]).logits[0, -1].argmax())
        if token == backbone.tokenizer.eos_token_id:
            break
        tokens.append(token)
        sequence = torch.cat([sequence, backbone.model.get_input_embeddings().weight[[token]]])
    return tokens


def test_rows_stand_in_the_place_of_the_text():
    before, after = torch.full((2, 3), 1.0), torch.full((1, 3), 3.0)
    first, second = in_place_of_text(before, [torch.full((1, 3), 2.0), torch.full((2, 3), 2.0)], after)
    assert first[:, 0].tolist() == [1, 1, 2, 3] and second[:, 0].tolist() == [1, 1, 2, 2, 3]
    assert token_counts([first, second]) == [4 + FURTHER_TOKENS, 5 + FURTHER_TOKENS]


def test_what_is_written_is_the_argmax_each_time(backbone: Backbone) -> None:
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randn(rows, backbone.width, generator=generator) for rows in (3, 6, 3, 4)]
    counts = [7, 4, 5, 6]
    expected = [written_alone(backbone, s, count) for s, count in zip(sequences, counts, strict=True)]
    assert write_greedily(backbone, sequences, counts) == expected
    assert max(map(len, expected)) > 2


def test_writing_ends_at_the_end_of_sequence(backbone: Backbone) -> None:
    backbone.model.config.tie_word_embeddings = False
    head = torch.nn.Linear(backbone.width, 64)
    torch.nn.init.zeros_(head.weight)
    head.bias.data = torch.zeros(64).index_fill(0, torch.tensor([backbone.tokenizer.eos_token_id]), 1.0)
    backbone.model.set_output_embeddings(head)
    assert write_greedily(backbone, [torch.zeros(2, backbone.width)], [5]) == [[]]


def test_no_more_is_written_than_the_context_holds() -> None:
    backbone = make_backbone("gpt2", n_positions=8)
    backbone.tokenizer.eos_token = "<unk>"
    (written,) = write_greedily(backbone, [torch.ones(5, backbone.width)], [10])
    assert len(written) <= 3
    assert write_greedily(backbone, [torch.ones(8, backbone.width)], [10]) == [[]]
