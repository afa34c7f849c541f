"""A tiny config of any causal language model that transformers lists."""

import inspect
from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 64
ARCHITECTURES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)  # model types, as config.json names them

# Sizes by the names that configs give them. Windows are shorter than the texts, so that they matter.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "embedding_size", "emb_dim", "lru_width"), 32
    ),
    **dict.fromkeys(("lm_head_dim", "attention_hidden_size", "word_embed_proj_dim", "embedding_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_blocks"), 2),
    **dict.fromkeys(("decoder_layers", "encoder_layers", "num_decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_decoder_attention_heads", "num_encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_global_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "global_head_dim", "swa_head_dim", "attention_head_dim", "kv_channels"), 8),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "d_ff", "dense_intermediate_size"), 64),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size", "intermediate_size_mlp"), 64),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"), 128),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_top_k", "top_k_experts", "moe_topk"), 2),
    **dict.fromkeys(
        ("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 16
    ),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "mamba_n_groups", "n_groups"), 1),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size", "mamba_state_dim"), 8),
    **dict.fromkeys(("time_step_rank", "mamba_dt_rank"), 4),
    **dict.fromkeys(("conv_kernel", "mamba_d_conv"), 4),
    **dict.fromkeys(("expand", "mamba_expand"), 2),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "n_mamba_heads"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim"), 8),
    **dict.fromkeys(("mamba_chunk_size", "chunk_size"), 8),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "o_lora_rank", "qk_nope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("index_head_dim", "linear_key_head_dim", "linear_value_head_dim"), 8),
    **dict.fromkeys(("sliding_window", "attention_window_size", "attention_chunk_size", "window_size"), 8),
    "index_n_heads": 16,  # with few, many scores are 0, and which of them are the highest is chance
    "index_topk": 8,
    "hidden_size_per_layer_input": 8,
    **dict.fromkeys(("adapter_input_size", "adapter_out_dim", "adapter_in_dim", "ngram_vocab_size_base"), 32),
    # Of the special tokens, which no text here has.
    **dict.fromkeys(("image_token_id", "video_token_id", "audio_token_id", "image_token_index"), 0),
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    # Weights so large that outputs depend on inputs as much as a trained model's.
    "initializer_range": 0.3,
    "init_std": 0.3,
    "use_mamba_kernels": False,
}

# Lists with an entry per layer. Of each kind of layer there is one.
KINDS_OF_LAYER = ("layer_types", "layers_block_type", "mlp_layer_types")

# What the names above do not say.
_ROPE = {"rope_type": "default", "rope_theta": 1e4}
_INDEXER = {"kv_heads": 1, "n_heads": 16, "head_dim": 8, "budget": 8, "compress_ratio": 2}
_QWEN4 = {**{f"indexer_{name}": value for name, value in _INDEXER.items()}, "split_ngram_parts": 2}
EXCEPTIONS: dict[str, dict[str, Any]] = {
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4}},
    "dots3_note": {"num_key_value_heads": 4, "per_layer_config": None},
    "dots3_note_text": {"num_key_value_heads": 4, "per_layer_config": None},
    "ernie4_5_moe": {"moe_k": 2, "moe_layer_end_index": 1},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8},
    "qwen4_exp": _QWEN4,
    "qwen4_exp_text": _QWEN4,
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "num_hidden_layers": 3,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zaya": {"num_experts_per_tok": 1},
}


# Models that a small config alone does not make.
_DRAFTER = "drafts tokens for another model, whose states it needs"
_WITH_AUDIO = "an encoder-decoder with an audio codec, in parts of several models"
UNTRIED = {
    "gemma3n": "needs the package timm, for images",
    "gemma4_assistant": _DRAFTER,
    "gemma4_unified_assistant": _DRAFTER,
    "musicgen": _WITH_AUDIO,
    "musicgen_melody": _WITH_AUDIO,
}


def tiny_config(model_type: str) -> PretrainedConfig:
    """A config of this type, of a model with some ten thousand parameters.

    Raises:
        Exception: whatever the config's class raises for these sizes.
    """
    return _shrunk(CONFIG_MAPPING[model_type], EXCEPTIONS.get(model_type, {}))


def _shrunk(kind: type[PretrainedConfig], exceptions: dict[str, Any]) -> PretrainedConfig:
    default = kind()
    names = set(inspect.signature(kind).parameters)
    parts = {
        name: _shrunk(type(part), exceptions)
        for name in kind.sub_configs
        if name in names - set(exceptions) and isinstance(part := getattr(default, name), PretrainedConfig)
    }
    own = {
        name: value for name, value in {**SIZES, **_layers(default), **exceptions}.items() if name in names
    }
    if "kv_lora_rank" in own:  # these attend with a key per head, whatever the config says
        own["num_key_value_heads"] = own["num_attention_heads"]
    return kind(**{**parts, **own})


def _layers(default: PretrainedConfig) -> dict[str, Any]:
    """One layer of each kind that the default config has, in the order in which they first occur."""
    lists = {
        name: value for name in KINDS_OF_LAYER if isinstance(value := getattr(default, name, None), list)
    }
    kinds = {name: list(dict.fromkeys(value)) for name, value in lists.items()}
    if getattr(default, "num_kv_shared_layers", 0):  # the last layers use the keys of layers before
        kinds = {name: value * 2 for name, value in kinds.items()}
    count = max([2, *map(len, kinds.values())])
    sizes: dict[str, Any] = {name: (value * count)[:count] for name, value in kinds.items()}
    if getattr(default, "num_kv_shared_layers", 0):
        sizes["num_kv_shared_layers"] = count // 2
    return {**sizes, "num_hidden_layers": count, "num_layers": count} if kinds else {}
