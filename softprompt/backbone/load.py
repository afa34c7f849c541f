"""Load a frozen model: from the hub, from a folder, or from inside a Python package."""

import hashlib
import io
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stderr
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from softprompt.backbone.base import Backbone
from softprompt.backbone.bloom import BloomBackbone
from softprompt.backbone.bos import begins_with_bos, bos_of
from softprompt.backbone.padded import PaddedBackbone
from softprompt.backbone.shared_prefix import SharedPrefixBackbone
from softprompt.backbone.source import Source, commit_of, local_folder
from softprompt.backbone.unpadded import UnpaddedBackbone
from softprompt.backbone.verify import check_generic
from softprompt.errors import UserError
from softprompt.settings import BOS, ModelSettings

MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.vocab", "*.bpe", "*.tiktoken", "*.jinja")


@lru_cache(maxsize=1)  # the runs of a sweep share it
def load_backbone(settings: ModelSettings, dtype: torch.dtype) -> Backbone:
    """Load model and tokenizer onto the CPU.

    Only safetensors and GGUF are read, and no code that a model repository brings is run.

    Raises:
        UserError: the model cannot be found or loaded, its files lack weights or have others than the model, or it is no
            causal language model.
    """
    source = Source.of(settings)
    if source.folder and not settings.gguf_file:
        _refuse_pickles(settings.id, source.folder)
    formats = {} if settings.gguf_file else {"use_safetensors": True}
    # transformers has no setting that turns off the progress bar for GGUF files.
    quiet = redirect_stderr(io.StringIO()) if settings.gguf_file else nullcontext()
    with source.loading():
        if (
            not settings.gguf_file
            and AutoConfig.from_pretrained(source.name, **source.options).is_encoder_decoder
        ):
            raise ValueError("an encoder-decoder; softprompt needs a causal language model")
        tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options)
        with quiet:
            # A tensor of another size than the model's is reported instead of raised, so that the error can name it.
            model, report = AutoModelForCausalLM.from_pretrained(
                source.name,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **source.options,
                **formats,
            )
    _check_report(settings.id, report)
    backbone = make_backbone(model, tokenizer, settings.id, source.options.get("revision"))
    if isinstance(backbone, SharedPrefixBackbone):
        backbone = checked(backbone)
    if begins_with_bos(settings, tokenizer):
        backbone.bos_id = tokenizer.bos_token_id
    return backbone


def checked(backbone: SharedPrefixBackbone) -> Backbone:
    """A backbone that computes what the model's own forward does: this one, or one that does not share the prompt.

    Raises:
        UserError: neither does.
    """
    try:
        check_generic(backbone)
    except UserError:
        padded = PaddedBackbone(backbone.model, backbone.tokenizer, backbone.id, backbone.revision)
        check_generic(padded)
        return padded
    return backbone


def _refuse_pickles(id: str, folder: Path) -> None:
    """Raise a `UserError` if a folder has weights, and all of them are pickles."""
    pickles = sorted(folder.glob("pytorch_model*.bin"))
    if pickles and not any(folder.glob("*.safetensors")):
        raise UserError(
            f"model.id={id}: {pickles[0].name} is a pickle, which can run code and is not read; if you trust it, convert it "
            'once: python -c "from transformers import AutoModelForCausalLM as M; '
            f"M.from_pretrained('{id}').save_pretrained('{id}')\""
        )


def _check_report(id: str, report: Mapping[str, Any]) -> None:
    """Raise a `UserError` if a weight was not in the files, or was there in another size, or is not the model's.

    transformers fills missing weights with random numbers. Tied heads, and buffers that it computes itself, are in none of
    these lists.
    """
    problems = {
        "is missing from the files; get the model's files again": report.get("missing_keys"),
        "has another size in the files; get the model's files again": report.get("mismatched_keys"),
        "is in the files, but not in the model; save the causal language model alone, without other heads": report.get(
            "unexpected_keys"
        ),
    }
    for what, keys in problems.items():
        # A mismatch is a tuple of name and sizes.
        names = sorted(str(key[0] if isinstance(key, tuple) else key) for key in keys or ())
        if names:
            others = f" (and {len(names) - 1} others)" if len(names) > 1 else ""
            raise UserError(f"model.id={id}: the weight {names[0]}{others} {what}")


def make_backbone(model: Any, tokenizer: Any, id: str, revision: str | None) -> Backbone:
    """The fastest implementation that supports the model's architecture."""
    for implementation in (BloomBackbone, UnpaddedBackbone):
        if implementation.supports(model.config):
            return implementation(model, tokenizer, id, revision)
    return SharedPrefixBackbone(model, tokenizer, id, revision)


def model_fingerprint(settings: ModelSettings) -> dict[str, str]:
    """What identifies a model: SHA-256 of its files on disk, or its commit on the hub; and the token in front of prompts.

    Empty if the settings name the commit already, and no token is in front.

    Raises:
        UserError: the package that carries the model is not installed, its commit cannot be found out, or its tokenizer,
            which decides about the token, cannot be loaded.
    """
    folder = local_folder(settings)
    if folder is None:
        commit = commit_of(settings)
        found = {} if commit == settings.revision else {"model/commit": commit}
    else:
        # All that weights, configuration and tokenizers are stored in.
        patterns = [settings.gguf_file] if settings.gguf_file else MODEL_FILES
        files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
        found = {f"model/{path.name}": _file_hash(path, *_version(path)) for path in files}
    bos = bos_of(settings, tuple(found.items()))
    return found if bos is None else {**found, BOS: bos}


def _version(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


@cache  # the runs of a sweep share it
def _file_hash(path: Path, *version: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def choose_dtype(name: str, accelerator: str) -> torch.dtype:
    """The dtype of the frozen weights. `auto`: bfloat16 if the hardware has native bfloat16 arithmetic, else float32.

    On a CPU without AVX512_BF16 or AMX, bfloat16 is emulated and slower than float32.
    """
    if name != "auto":
        return torch.bfloat16 if name == "bfloat16" else torch.float32
    if accelerator != "cpu" and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32
