"""Whether the beginning-of-sequence token stands in front of every prompt, as `model.bos` says.

Many models (Llama, Gemma, ...) were trained with this token in front of every text, and compute something else without it.
Their tokenizers add it by themselves.
"""

from functools import lru_cache
from typing import Any

from transformers import AutoTokenizer

from softprompt.backbone.source import Source
from softprompt.errors import UserError
from softprompt.settings import ModelSettings


def begins_with_bos(settings: ModelSettings, tokenizer: Any) -> bool:
    """True if the token stands in front of every prompt.

    Raises:
        UserError: it should, and the tokenizer has none.
    """
    token = tokenizer.bos_token_id
    if settings.bos != "auto":
        if settings.bos and token is None:
            raise UserError(
                "model.bos=true: the model's tokenizer has no beginning-of-sequence token; use model.bos=false"
            )
        return settings.bos
    return token is not None and tokenizer("x")["input_ids"][:1] == [token]


@lru_cache(maxsize=16)  # the runs of a sweep share it
def bos_of(settings: ModelSettings, version: tuple[tuple[str, str], ...]) -> str | None:
    """The token in front of every prompt, as text; None if there is none.

    Args:
        version: hashes of the model's files, because they may change.

    Raises:
        UserError: the tokenizer cannot be loaded, or has no such token and should.
    """
    if settings.bos is False:
        return None
    source = Source.of(settings)
    with source.loading():
        tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options)
    return str(tokenizer.bos_token) if begins_with_bos(settings, tokenizer) else None
