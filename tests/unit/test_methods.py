"""How methods turn trainable values into what stands in front of the text."""

import pytest
import torch
import yaml
from peft import PrefixTuningConfig, get_peft_model
from torch.nn import functional as F

from softprompt.backbone import Backbone
from softprompt.data.batch import Batch
from softprompt.errors import UserError
from softprompt.methods import Method, make_method
from softprompt.parsing import parse_task_settings
from softprompt.prompt import SoftPrompt
from softprompt.settings import (
    AutoPromptSettings,
    MethodSettings,
    PezSettings,
    PrefixSettings,
    ResidualSettings,
    SoftSettings,
    TaskSettings,
)
from tests.conftest import ROOT, make_backbone
from tests.unit.test_backbone import random_prompts, random_sequences

AUTOPROMPT = AutoPromptSettings("autoprompt", candidates=4, side_by_side=2)
ALL = [
    SoftSettings(),
    ResidualSettings("residual", 6),
    PrefixSettings("prefix", None),
    PrefixSettings("prefix", 6),
    PezSettings("pez"),
    AUTOPROMPT,
]


def task(*answers: str) -> TaskSettings:
    content = yaml.safe_load((ROOT / "conf/task/cb.yaml").read_text())
    return parse_task_settings(
        {**content, "verbalizers": {answer: [answer] for answer in answers or ("yes", "no")}}
    )


def start_of(method: Method, backbone: Backbone, text: str = "Does the dog entail, a big cat") -> SoftPrompt:
    tokens = backbone.tokens_of(text)
    return method.start(
        SoftPrompt(backbone.embed(tokens), backbone.id, None, "cb", "text", initial_tokens=tokens)
    )


def values_of(method: Method, start: SoftPrompt, seed: int = 0) -> torch.nn.Parameter:
    return torch.nn.Parameter(method.values(start, torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("settings", ALL, ids=str)
def test_every_method_starts_as_the_text(backbone: Backbone, settings: MethodSettings) -> None:
    """Before training all methods compute what the text's embeddings compute."""
    method = make_method(settings, backbone, task("entailment", "neutral"))
    start = start_of(method, backbone)
    batch = Batch.of_pairs(random_sequences(0, [(5, 2), (3, 1)]))
    text = backbone.embed_text("Does the dog entail, a big cat")
    in_front = method.in_front(values_of(method, start), start.matrix)
    torch.testing.assert_close(in_front, start.matrix)
    torch.testing.assert_close(
        method.view.answer_logits([in_front], batch),
        backbone.answer_logits([text], batch),
        rtol=1e-5,
        atol=3e-5,
    )


def test_the_network_of_residual_prompt_tuning_is_that_of_torch_s_layers(backbone: Backbone) -> None:
    """With the same weights: the same rows in front, and the same gradient of every value."""
    method = make_method(ResidualSettings("residual", 6), backbone, task())
    start = start_of(method, backbone)
    n, d = start.matrix.shape
    generator = torch.Generator().manual_seed(1)
    values = values_of(method, start)
    values.data += 0.1 * torch.randn(values.shape, generator=generator)
    rows = torch.nn.Parameter(values.data[: n * d].view(n, d).clone())
    down, up, norm = torch.nn.Linear(d, 6), torch.nn.Linear(6, d), torch.nn.LayerNorm(d)
    weights = [rows, down.weight, up.weight, down.bias, up.bias, norm.weight, norm.bias]
    parts = torch.split(values.data[n * d :], [weight.numel() for weight in weights[1:]])
    for weight, part in zip(weights[1:], parts, strict=True):
        # A Linear holds its matrix transposed.
        weight.data.copy_(part.view(weight.mT.shape).mT if weight.ndim == 2 else part)
    expected = rows + norm(up(torch.relu(down(rows))))
    in_front = method.in_front(values, start.matrix)
    torch.testing.assert_close(in_front, expected)
    towards = torch.randn(n, d, generator=generator)
    (in_front * towards).sum().backward()
    (expected * towards).sum().backward()
    theirs = [w.grad if w is rows or w.ndim == 1 else w.grad.mT for w in weights]
    torch.testing.assert_close(values.grad, torch.cat([gradient.flatten() for gradient in theirs]))


def test_the_network_of_a_prefix_is_peft_s() -> None:
    """From a start of zeros, with the same weights: the same logits, and the same gradient of every weight."""
    backbone = make_backbone("gpt2")
    method = make_method(PrefixSettings("prefix", 32), backbone, task())
    start = torch.zeros(4, sum(heads * (key + value) for heads, key, value in backbone.cache_shapes))
    pairs = random_sequences(0, [(5, 2), (9, 2)])
    answers = torch.tensor([token for _, answer in pairs for token in answer])
    shapes = [(4, 32), (32, 32), (32,), (32, start.shape[1]), (start.shape[1],)]
    parts = [
        prompt.detach() for shape in shapes for prompt in random_prompts(len(shape), [shape[0]], shape[-1])
    ]
    parts = [
        part if len(shape) == 2 else part[0, : shape[0]] for part, shape in zip(parts, shapes, strict=True)
    ]
    values = torch.nn.Parameter(torch.cat([part.flatten() for part in parts]))
    logits = method.view.answer_logits([method.in_front(values, start)], Batch.of_pairs(pairs))
    F.cross_entropy(logits, answers).backward()

    config = PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=32
    )
    peft_model = get_peft_model(backbone.model, config)
    encoder = peft_model.prompt_encoder["default"]
    first, _, second = encoder.transform
    weights = [encoder.embedding.weight, first.weight, first.bias, second.weight, second.bias]
    for weight, part in zip(weights, parts, strict=True):
        # A Linear holds its matrix transposed.
        weight.data.copy_(part if part.ndim == 1 or weight is encoder.embedding.weight else part.mT)
    reference = []
    for text, answer in pairs:
        ids = torch.tensor([[*text, *answer]])
        reference.append(
            peft_model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0][-len(answer) - 1 : -1]
        )
    F.cross_entropy(torch.cat(reference), answers).backward()
    torch.testing.assert_close(logits, torch.cat(reference), rtol=1e-5, atol=1e-5)
    theirs = torch.cat(
        [(w.grad if w.ndim == 1 or w is encoder.embedding.weight else w.grad.mT).flatten() for w in weights]
    )
    assert (values.grad - theirs).norm() <= 1e-5 * theirs.norm()


def test_pez_projects_to_the_nearest_allowed_token_and_passes_the_gradient() -> None:
    backbone = make_backbone("bloom")
    method = make_method(PezSettings("pez"), backbone, task("entailment", "neutral"))
    tokens = backbone.tokens_of("dog cat")
    values = torch.nn.Parameter(2.5 * backbone.embed(tokens))
    in_front = method.in_front(values, values.detach())
    torch.testing.assert_close(in_front.detach(), backbone.embed(tokens))
    (in_front * torch.arange(64.0).view(2, 32)).sum().backward()
    torch.testing.assert_close(values.grad, torch.arange(64.0).view(2, 32))


def test_discrete_prompts_use_no_special_token_and_no_answer() -> None:
    backbone = make_backbone("bloom")
    method = make_method(AUTOPROMPT, backbone, task("entailment", "neutral"))
    allowed = set(method.allowed.tolist())
    words = {backbone.tokenizer.decode([token]) for token in allowed}
    assert {"dog", "cat", "contradiction"} <= words
    assert not words & {"entailment", "neutral", "<s>", "</s>", "<pad>", "<unk>"}
    start = start_of(method, backbone, "dog entailment cat")
    assert start.matrix.shape == (3, 32)
    assert set(method.nearest(start.matrix).tolist()) <= allowed


def test_a_search_without_tokens_to_start_from_is_refused() -> None:
    backbone = make_backbone("bloom")
    method = make_method(AUTOPROMPT, backbone, task())
    rows = SoftPrompt(torch.randn(3, 32), backbone.id, None, "cb", "random")
    with pytest.raises(UserError, match=r"^prompt\.init=random: method=autoprompt starts from tokens"):
        method.start(rows)
