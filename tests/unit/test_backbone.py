"""Hugging Face's own forward over the plainly concatenated sequence is the reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3TextConfig, Phi3Config

from softprompt.backbone import Backbone
from softprompt.backbone import make_backbone as wrap
from softprompt.backbone.attention.cpu import LoopAttention
from softprompt.backbone.attention.gpu import GridAttention
from softprompt.backbone.bloom import BloomBackbone
from softprompt.backbone.load import checked
from softprompt.backbone.padded import PaddedBackbone
from softprompt.backbone.shared_prefix import SharedPrefixBackbone
from softprompt.backbone.unpadded import FAMILIES, UnpaddedBackbone
from softprompt.backbone.verify import check_generic
from softprompt.data.batch import Batch
from softprompt.errors import UserError
from tests.conftest import BACKBONES, VOCABULARY, make_backbone, make_model, make_tokenizer


def concatenated_logits(backbone: Backbone, prompts: list[torch.Tensor], batch: Batch) -> torch.Tensor:
    """Every sequence by itself, its prompt in front, no cache, no padding, all logits."""
    logits = []
    texts = batch.text_ids.split(batch.text_lengths.tolist())
    for answer, text in zip(
        batch.answer_ids.split(batch.answer_lengths.tolist()), batch.text_of, strict=True
    ):
        embedded = backbone.model.get_input_embeddings()(torch.cat([texts[text], answer]))
        full = backbone.model(
            inputs_embeds=torch.cat([prompts[batch.prompt_of[text]], embedded])[None], use_cache=False
        ).logits[0]
        logits.append(full[-len(answer) - 1 : -1])
    return torch.cat(logits)


def random_sequences(seed: int, lengths: list[tuple[int, int]]) -> list[tuple[list[int], list[int]]]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n: torch.randint(4, VOCABULARY, (n,), generator=generator).tolist()  # noqa: E731
    return [(draw(text), draw(answer)) for text, answer in lengths]


def random_prompts(seed: int, rows: list[int], width: int = 32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(n, width, generator=generator) * 0.3) for n in rows]


def assert_same_as_concatenated(backbone: Backbone, rows: list[int], batch: Batch) -> None:
    ours, theirs = (random_prompts(1, rows, backbone.width) for _ in range(2))
    logits = backbone.answer_logits(ours, batch)
    reference = concatenated_logits(backbone, theirs, batch)
    torch.testing.assert_close(logits, reference, rtol=1e-5, atol=3e-5)
    if not any(rows[i] for i in batch.prompt_of.tolist()):  # nothing to learn in front of any sequence
        return
    F.cross_entropy(logits, batch.answer_ids).backward()
    F.cross_entropy(reference, batch.answer_ids).backward()
    for mine, other in zip(ours, theirs, strict=True):
        if other.grad is None:
            assert mine.grad is None
        elif other.numel():
            assert (mine.grad - other.grad).norm() <= 1e-5 * other.grad.norm()


def test_logits_and_gradients_equal_the_concatenated_forward(backbone: Backbone) -> None:
    sequences = random_sequences(0, [(5, 2), (1, 1), (17, 3), (9, 2)])
    assert_same_as_concatenated(backbone, [6], Batch.of_pairs(sequences))


def test_prompts_of_several_lengths_stand_side_by_side(backbone: Backbone) -> None:
    sequences = random_sequences(0, [(5, 2), (1, 1), (17, 3), (9, 2), (4, 1), (3, 2)])
    assert_same_as_concatenated(backbone, [6, 1, 6, 0], Batch.of_pairs(sequences, [2, 1, 0, 3, 0, 1]))


def test_padding_and_order_change_nothing(backbone: Backbone) -> None:
    short, long, middle = random_sequences(0, [(3, 2), (40, 2), (11, 2)])
    prompts = [prompt.detach() for prompt in random_prompts(1, [4])]
    alone = backbone.answer_logits(prompts, Batch.of_pairs([short]))
    first = backbone.answer_logits(prompts, Batch.of_pairs([short, long, middle]))
    last = backbone.answer_logits(prompts, Batch.of_pairs([middle, long, short]))
    torch.testing.assert_close(first[:2], alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(last[-2:], alone, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(BACKBONES),
    heads=st.sampled_from([1, 3, 4, 6]),
    lengths=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 4)), min_size=1, max_size=5),
    rows=st.lists(st.integers(0, 8), min_size=1, max_size=3),
    data=st.data(),
)
def test_any_batch_equals_the_concatenated_forward(
    name: str, heads: int, lengths: list[tuple[int, int]], rows: list[int], data: st.DataObject
) -> None:
    prompt_of = st.lists(st.integers(0, len(rows) - 1), min_size=len(lengths), max_size=len(lengths))
    further = st.lists(st.tuples(st.just(1), st.integers(1, 4)), max_size=2)  # answers behind the same text
    texts = [
        (text, [answer, *(other for _, other in random_sequences(3, data.draw(further)))])
        for text, answer in random_sequences(2, lengths)
    ]
    batch = Batch.of_texts(texts, data.draw(prompt_of))
    kind = name.partition("-")[0]
    if kind == "llama":
        heads = 4
    shape = {"bloom": "n_head", "gpt2": "n_head", "llama": "num_attention_heads"}[kind]
    width = {"bloom": "hidden_size", "gpt2": "n_embd", "llama": "hidden_size"}[kind]
    backbone = make_backbone(name, **{shape: heads, width: 8 * heads})
    assert_same_as_concatenated(backbone, rows, batch)


def test_a_backbone_is_frozen_and_gives_logits_in_its_own_dtype(backbone: Backbone) -> None:
    assert not any(p.requires_grad for p in backbone.model.parameters())
    backbone.model.to(torch.bfloat16)
    prompt = random_prompts(0, [3])[0]
    logits = backbone.answer_logits([prompt], Batch.of_pairs([([5, 6], [7, 2])]))
    assert logits.dtype == torch.bfloat16 and logits.shape == (2, VOCABULARY)
    logits.float().sum().backward()
    assert prompt.grad is not None and prompt.grad.dtype == torch.float32


def test_the_head_is_applied_at_the_answer_positions_alone(backbone: Backbone) -> None:
    seen = []
    head = backbone.model.get_output_embeddings()
    head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[:-1].numel()))
    backbone.answer_logits(random_prompts(0, [3]), Batch.of_pairs(random_sequences(0, [(20, 2), (9, 3)])))
    assert seen == [5]


@pytest.mark.parametrize(("kind", "limit"), [("bloom", None), ("llama", 2048), ("gpt2", 128)])
def test_context_length_is_what_the_config_says(kind: str, limit: int | None) -> None:
    assert SharedPrefixBackbone(make_model(kind), make_tokenizer(), "tiny", None).context_length == limit


HYBRIDS = {
    "mamba": {"hidden_size": 32, "state_size": 8, "num_hidden_layers": 2},
    "jamba": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "num_experts": 2, "mamba_d_state": 8, "attn_layer_period": 2, "attn_layer_offset": 1,
        "use_mamba_kernels": False,
    },
    "qwen3_next": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", HYBRIDS)
def test_a_model_whose_state_cannot_be_shared_gets_the_prompt_in_front_of_every_sequence(kind: str) -> None:
    torch.manual_seed(0)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **HYBRIDS[kind], **ends)
    backbone = checked(
        SharedPrefixBackbone(AutoModelForCausalLM.from_config(config).eval(), make_tokenizer(), "tiny", None)
    )
    assert type(backbone) is PaddedBackbone
    sequences = random_sequences(0, [(5, 2), (1, 1), (17, 3), (4, 1)])
    assert_same_as_concatenated(backbone, [6, 2, 0], Batch.of_pairs(sequences, [0, 1, 0, 2]))


def test_with_longrope_the_context_is_the_original_one() -> None:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    contexts = {"max_position_embeddings": 64, "original_max_position_embeddings": 16}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    config = Phi3Config(vocab_size=VOCABULARY, rope_parameters=rope, **shape, **contexts, **ends)
    backbone = wrap(AutoModelForCausalLM.from_config(config).eval(), make_tokenizer(), "tiny", None)
    assert backbone.context_length == 16
    # 2 rows and up to 14 tokens: the limit
    assert_same_as_concatenated(backbone, [2], Batch.of_pairs(random_sequences(0, [(12, 2), (3, 2)])))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_with_bidirectional_attention_is_refused(dtype: torch.dtype) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY, use_bidirectional_attention=True, num_key_value_heads=2, head_dim=8, **shape
    )
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    with pytest.raises(UserError, match=r"Gemma3ForCausalLM\): cannot be used, because it looks ahead"):
        check_generic(wrap(model, make_tokenizer(), "tiny", None))


def test_a_model_is_computed_in_the_way_that_it_allows() -> None:
    model = make_model("bloom")
    assert type(wrap(model, make_tokenizer(), "tiny", None)) is BloomBackbone
    model.config.apply_residual_connection_post_layernorm = True
    assert type(wrap(model, make_tokenizer(), "tiny", None)) is SharedPrefixBackbone
    for kind in ("gpt2", "llama"):
        model = make_model(kind)
        assert type(wrap(model, make_tokenizer(), "tiny", None)) is UnpaddedBackbone
    model.config.sliding_window = 8
    assert type(wrap(model, make_tokenizer(), "tiny", None)) is SharedPrefixBackbone


def test_unpadded_bloom_in_bfloat16_is_as_near_to_the_truth_as_hugging_face() -> None:
    batch = Batch.of_pairs(random_sequences(3, [(30, 2), (7, 2), (55, 3), (12, 2)]))
    exact = make_backbone("bloom-loop")
    with torch.no_grad():
        truth = exact.answer_logits(random_prompts(1, [6]), batch)
        errors = {}
        for name in ("bloom", "bloom-loop", "bloom-grid"):
            backbone = make_backbone(name)
            backbone.model.to(torch.bfloat16)
            errors[name] = (backbone.answer_logits(random_prompts(1, [6]), batch).float() - truth).norm()
    assert max(errors["bloom-loop"], errors["bloom-grid"]) <= 1.2 * errors["bloom"]


def test_a_prompt_that_is_no_number_reaches_no_other(backbone: Backbone) -> None:
    batch = Batch.of_pairs(random_sequences(0, [(5, 2), (9, 1), (17, 3)]), [0, 1, 2])
    prompts = random_prompts(1, [4, 6, 2])
    prompts[1].data.fill_(float("nan"))
    logits = backbone.answer_logits(prompts, batch)
    prompt_of_token = batch.prompt_of_token
    assert logits[prompt_of_token == 1].isnan().all() and logits[prompt_of_token != 1].isfinite().all()
    logits[prompt_of_token != 1].sum().backward()
    assert all(prompts[i].grad.isfinite().all() for i in (0, 2))


def test_bloom_reads_a_row_without_its_scale_and_mean() -> None:
    bloom = make_backbone("bloom-loop")
    rows = torch.randn(4, bloom.width, generator=torch.Generator().manual_seed(0))
    read = bloom.model_input(rows)
    torch.testing.assert_close(read, F.layer_norm(rows, (bloom.width,)))
    torch.testing.assert_close(bloom.model_input(3 * rows + 2), read, atol=1e-4, rtol=1e-4)
    assert torch.equal(make_backbone("gpt2").model_input(rows), rows)


def test_neurons_fire_as_hugging_face_computes_them(backbone: Backbone) -> None:
    (prompt,) = random_prompts(0, [3])
    fired = backbone.feed_forward_activity(prompt.detach())
    # Every model here has two layers; their feed-forward widths differ.
    width = {"bloom": 128, "llama": 64, "gpt2": 128}[backbone.model.config.model_type]
    assert fired is not None and fired.shape == (2 * width,)
    assert 0.2 < fired.float().mean() < 0.8
    assert torch.equal(fired, backbone.feed_forward_activity(prompt.detach()))
    assert not torch.equal(fired, backbone.feed_forward_activity(-prompt.detach()))
    # Of the first layer, by hand: what goes into the activation function is positive where what comes out is.
    if backbone.model.config.model_type == "gpt2":
        block, rows = backbone.model.transformer.h[0], torch.cat([prompt.detach(), backbone.embed([2])])[None]
        seen = []
        handle = block.mlp.c_fc.register_forward_hook(lambda _, __, output: seen.append(output[0, -1] > 0))
        backbone.model(inputs_embeds=rows)
        handle.remove()
        assert torch.equal(seen[0], fired[:width])


def test_the_vocabulary_comes_in_pieces_and_in_order(backbone: Backbone) -> None:
    size = len(backbone.tokenizer)
    table = backbone.model.get_input_embeddings().weight[:size]
    assert torch.equal(torch.cat(list(backbone.embedding_chunks(7))), table)
    assert backbone.embedding_scale == pytest.approx(table.std().item(), rel=1e-5)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_unpadded_family_equals_its_concatenated_forward(family: str) -> None:
    names = {
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
        "gpt_neox": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
        },
    }
    shape = names.get(family) or {**names["gpt_neox"], "num_key_value_heads": 2, "head_dim": 8}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, vocab_size=VOCABULARY, initializer_range=0.3, **shape)
    if family == "mistral":
        config.sliding_window = None
    backbone = wrap(AutoModelForCausalLM.from_config(config).eval(), make_tokenizer(), family, None)
    assert type(backbone) is UnpaddedBackbone
    (first, *_), second = random_sequences(0, [(5, 2)]), random_sequences(1, [(17, 3), (2, 1)])
    texts = [(first[0], [first[1], [9, 2]]), (second[0][0], [second[0][1], second[1][1]])]
    assert_same_as_concatenated(backbone, [6, 1], Batch.of_texts(texts, [1, 0]))
    # What else the model is used for goes its own way.
    assert backbone.model.config._attn_implementation != "softprompt"


@pytest.mark.parametrize("kind", ["bloom", "llama"])
def test_a_wide_model_on_a_cpu_uses_the_loop(kind: str) -> None:
    batch = Batch.of_pairs(random_sequences(0, [(5, 2), (9, 1)]))
    # In float64, because wide layers with weights this large lose four digits in float32, here and in Hugging Face.
    narrow, wide = (
        wrap(make_model(kind, hidden_size=d).double(), make_tokenizer(), "", None) for d in (32, 256)
    )
    prompt = torch.zeros(3, 32)
    assert type(narrow._inputs([prompt], batch).attention) is GridAttention
    assert type(wide._inputs([torch.zeros(3, 256)], batch).attention) is LoopAttention
    assert_same_as_concatenated(wide, [3], batch)
