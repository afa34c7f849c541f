"""Prefixes: keys and values in front of every layer. PEFT's prefix tuning is the reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PrefixTuningConfig, get_peft_model
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from softprompt.backbone import Backbone
from softprompt.backbone import make_backbone as wrap
from softprompt.data.batch import Batch
from softprompt.errors import UserError
from tests.architectures.tiny import tiny_config
from tests.conftest import BACKBONES, make_backbone, make_tokenizer
from tests.unit.test_backbone import random_prompts, random_sequences


def random_prefixes(backbone: Backbone, rows: list[int]) -> list[torch.nn.Parameter]:
    return random_prompts(3, rows, backbone.prefix_width)


def peft_logits(peft_model: torch.nn.Module, text: list[int], answer: list[int]) -> torch.Tensor:
    ids = torch.tensor([[*text, *answer]])
    logits = peft_model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    return logits[-len(answer) - 1 : -1]


@pytest.mark.parametrize("name", BACKBONES)
def test_logits_and_gradients_equal_peft_s(name: str) -> None:
    backbone = make_backbone(name)
    (prefix,) = random_prefixes(backbone, [5])
    pairs = random_sequences(0, [(5, 2), (1, 1), (17, 3), (9, 2)])
    logits = backbone.prefix_logits([prefix], Batch.of_pairs(pairs))
    answers = torch.tensor([token for _, answer in pairs for token in answer])
    F.cross_entropy(logits, answers).backward()

    config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    peft_model = get_peft_model(backbone.model, config)
    weight = peft_model.prompt_encoder["default"].embedding.weight
    assert weight.shape == prefix.shape
    weight.data.copy_(prefix.detach())
    reference = torch.cat([peft_logits(peft_model, text, answer) for text, answer in pairs])
    F.cross_entropy(reference, answers).backward()
    torch.testing.assert_close(logits, reference, rtol=1e-5, atol=1e-5)
    assert (prefix.grad - weight.grad).norm() <= 1e-5 * weight.grad.norm()


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(BACKBONES),
    lengths=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 3)), min_size=1, max_size=4),
    rows=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    data=st.data(),
)
def test_the_keys_and_values_of_a_prompt_do_what_the_prompt_does(
    name: str, lengths: list[tuple[int, int]], rows: list[int], data: st.DataObject
) -> None:
    backbone = make_backbone(name)
    of = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=len(lengths), max_size=len(lengths)))
    batch = Batch.of_pairs(random_sequences(2, lengths), of)
    prompts = [prompt.detach() for prompt in random_prompts(1, rows)]
    prefixes = [backbone.keys_and_values(prompt) for prompt in prompts]
    torch.testing.assert_close(
        backbone.prefix_logits(prefixes, batch), backbone.answer_logits(prompts, batch), rtol=1e-5, atol=3e-5
    )


def test_a_prefix_begins_with_the_beginning_of_sequence_where_prompts_do(backbone: Backbone) -> None:
    backbone.bos_id = 1
    (prompt,) = random_prompts(1, [4])
    prefix = backbone.keys_and_values(prompt.detach())
    assert len(prefix) == 5
    batch = Batch.of_pairs(random_sequences(2, [(5, 2), (3, 1)]))
    torch.testing.assert_close(
        backbone.prefix_logits([prefix], batch), backbone.answer_logits([prompt], batch), rtol=1e-5, atol=3e-5
    )


def test_prefixes_of_a_pack_do_not_meet(backbone: Backbone) -> None:
    pairs = random_sequences(0, [(5, 2), (4, 1), (7, 3)])
    prefixes = random_prefixes(backbone, [3, 5, 3])
    together = backbone.prefix_logits(prefixes, Batch.of_pairs(pairs, [2, 0, 1]))
    alone = [
        backbone.prefix_logits([prefixes[i]], Batch.of_pairs([pair]))
        for pair, i in zip(pairs, [2, 0, 1], strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)


def test_a_prefix_may_not_be_longer_than_the_window_of_a_layer() -> None:
    model = AutoModelForCausalLM.from_config(tiny_config("gemma2")).eval()  # one layer sees 8 positions
    backbone = wrap(model, make_tokenizer(), "tiny", None)
    (prompt,) = random_prompts(0, [7], backbone.width)
    assert len(backbone.keys_and_values(prompt)) == 7
    (longer,) = random_prompts(0, [20], backbone.width)
    with pytest.raises(
        UserError, match=r"keeps keys and values of only \d positions, and the prompt has 20 rows"
    ):
        backbone.keys_and_values(longer)
