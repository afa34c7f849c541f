"""Holds softprompt's forward of one architecture against Hugging Face's own, over plainly concatenated embeddings."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from softprompt.backbone import Backbone, load_backbone
from softprompt.backbone.bloom import BloomBackbone
from softprompt.backbone.padded import PaddedBackbone
from softprompt.backbone.shared_prefix import SharedPrefixBackbone
from softprompt.backbone.unpadded import UnpaddedBackbone
from softprompt.data.batch import Batch
from softprompt.errors import UserError, first_line
from softprompt.settings import ModelSettings
from tests.architectures.tiny import UNTRIED, VOCABULARY, tiny_config
from tests.conftest import make_tokenizer

# Of logits and of the gradient, as a share of their norm. Rounding gives 1e-7 to 1e-5, and 2e-4 in hrm_text, which repeats
# its layers (in float64 it is 1e-7).
TOLERANCE = 1e-3
WAYS = {
    BloomBackbone: "unpadded",
    UnpaddedBackbone: "unpadded",
    SharedPrefixBackbone: "shared prefix",
    PaddedBackbone: "padded",
}
ROWS = (6, 2, 0, 6)  # of the prompts that stand side by side
LENGTHS = ((5, 2), (1, 1), (17, 3), (9, 2), (4, 2))  # tokens of texts and answers
PROMPT_OF = (0, 1, 0, 2, 3)


@dataclass(frozen=True)
class Outcome:
    """What became of one architecture.

    Attributes:
        kind: `equal`, `different`, `refused`, `broken` (an error that is no `UserError`), or `not tried`.
        detail: the implementation if equal or different, else the reason.
        difference: of logits or gradient, whichever is larger, as a share of its norm.
        decoder_alone: it is an encoder-decoder, of which the decoder was tried.
    """

    kind: str
    detail: str
    difference: float | None = None
    decoder_alone: bool = False


def compare(model_type: str) -> Outcome:
    """Load a tiny model of this type as a user's would be, from a folder, and compare the two forwards."""
    if model_type in UNTRIED:
        return Outcome("not tried", UNTRIED[model_type])
    torch.manual_seed(0)
    decoder_alone = False
    with tempfile.TemporaryDirectory() as folder:
        try:
            config = tiny_config(model_type)
            decoder_alone = config.is_encoder_decoder
            model = AutoModelForCausalLM.from_config(config).eval()
            _vary_constants(model)
            model.save_pretrained(folder)
            if not decoder_alone:
                config.save_pretrained(folder)  # of the whole, if the model is the text part of one
            make_tokenizer().save_pretrained(folder)
        except Exception as error:
            return Outcome("not tried", f"no tiny model ({type(error).__name__}: {first_line(error)})")
        return replace(_compare(folder), decoder_alone=decoder_alone)


def _compare(folder: str) -> Outcome:
    settings = ModelSettings(id=folder, revision=None, package=None, gguf_file=None, dtype="float32", lr=None)
    try:
        backbone = load_backbone(settings, torch.float32)
        ours = _answers(backbone)
    except UserError as error:
        return Outcome("refused", str(error).replace(f"model.id={folder}", "").lstrip(": "))
    except Exception as error:
        return Outcome("broken", f"{type(error).__name__}: {first_line(error)}")
    try:
        theirs = _reference(backbone)
    except Exception as error:
        return Outcome("not tried", f"its own forward fails ({type(error).__name__}: {first_line(error)})")
    difference = max(
        float((mine - other).norm() / other.norm()) for mine, other in zip(ours, theirs, strict=True)
    )
    equal = difference <= TOLERANCE  # False if it is no number
    return Outcome("equal" if equal else "different", WAYS[type(backbone)], difference)


def _vary_constants(model: nn.Module) -> None:
    """Noise on weights that begin as zeros or ones. Behind a factor of 0 an error would not be seen."""
    for parameter in model.parameters():
        if parameter.numel() > 1 and parameter.min() == parameter.max():
            parameter.data += 0.3 * torch.randn_like(parameter)


def _answers(backbone: Backbone) -> tuple[Tensor, Tensor]:
    """Logits at the answers, and the gradient of their loss in the prompts."""
    prompts, batch = _prompts(backbone.width), _batch()
    return _with_gradient(backbone.answer_logits(prompts, batch), prompts, batch)


def _reference(backbone: Backbone) -> tuple[Tensor, Tensor]:
    """The same, computed by the model itself, one sequence at a time, without a cache."""
    prompts, batch = _prompts(backbone.width), _batch()
    texts = batch.text_ids.split(batch.text_lengths.tolist())
    logits = []
    for answer, text in zip(
        batch.answer_ids.split(batch.answer_lengths.tolist()), batch.text_of.tolist(), strict=True
    ):
        tokens = backbone.model.get_input_embeddings()(torch.cat([texts[text], answer]))
        rows = torch.cat([prompts[PROMPT_OF[text]], tokens])[None]
        output = backbone.model(inputs_embeds=rows, use_cache=False)
        logits.append(output.logits[0, -len(answer) - 1 : -1])
    return _with_gradient(torch.cat(logits), prompts, batch)


def _with_gradient(logits: Tensor, prompts: Sequence[nn.Parameter], batch: Batch) -> tuple[Tensor, Tensor]:
    F.cross_entropy(logits, batch.answer_ids).backward()
    gradients = [prompt.grad.flatten() for prompt in prompts if prompt.grad is not None]
    return logits.detach(), torch.cat(gradients)


def _prompts(width: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(rows, width, generator=generator) * 0.3) for rows in ROWS]


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    pairs = [
        tuple(torch.randint(4, VOCABULARY, (count,), generator=generator).tolist() for count in pair)
        for pair in LENGTHS
    ]
    return Batch.of_pairs(pairs, PROMPT_OF)
