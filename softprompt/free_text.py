"""Answers that are free text: what a prompt writes, and how near that is to a right answer.

The comparison is that of the official scripts of SQuAD (Rajpurkar et al. 2016) and ReCoRD (Zhang et al. 2018).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from softprompt.backbone import Backbone
from softprompt.backbone.generating import generate
from softprompt.data.examples import Example


def write_answers(
    backbone: Backbone,
    prompts: Sequence[Float[Tensor, "_ d"]],
    examples: Sequence[Example],
    prompt_of: Sequence[int],
) -> list[str]:
    """What greedy generation writes behind each example's text, with the prompt `prompt_of` says in front."""
    count = max(example.free_text.max_tokens for example in examples if example.free_text)
    texts = [example.text_ids for example in examples]
    written = generate(backbone, prompts, texts, prompt_of, count)
    return [backbone.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written]


def normalised(text: str) -> str:
    """Lower case, without punctuation, English articles and more than one space in a row."""
    letters = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", letters).split())


def is_right(written: str, right: Sequence[str]) -> bool:
    """True if a text is one of the right answers, after normalisation."""
    return normalised(written) in map(normalised, right)


def token_f1(written: str, right: Sequence[str]) -> float:
    """F1 of the words that a text has in common with a right answer, after normalisation; that of the best one."""
    return max(_f1(normalised(written).split(), normalised(answer).split()) for answer in right)


def _f1(written: list[str], right: list[str]) -> float:
    if not written or not right:
        return float(written == right)
    return 2 * (Counter(written) & Counter(right)).total() / (len(written) + len(right))
