"""The tokenizer of the microworld's language, and the architecture of its model."""

from collections.abc import Iterable, Iterator

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import BloomConfig, BloomForCausalLM, PreTrainedTokenizerFast

from softprompt.microworld import words
from softprompt.pretraining.instructions import QUESTIONS, SHORTCUTS, TAUGHT
from softprompt.pretraining.lessons import ECHO_INSTRUCTIONS
from softprompt.settings import TaskSettings

# BLOOM's special tokens, with the same ids as in BLOOM.
SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def make_tokenizer(tasks: Iterable[TaskSettings]) -> PreTrainedTokenizerFast:
    """A lower-case tokenizer of words and punctuation marks. Its vocabulary covers all lessons and task templates."""
    splitter = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "removed", invert=True)
    lower = normalizers.Lowercase()
    words_and_marks = sorted(
        {word for text in _texts(tasks) for word, _ in splitter.pre_tokenize_str(lower.normalize_str(text))}
    )
    vocabulary = {token: index for index, token in enumerate([*SPECIAL.values(), *words_and_marks])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.normalizer = lower
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()  # joins words with spaces, but puts none before a comma
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **SPECIAL)


def vocabulary_words(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The words of the vocabulary, in the order of their ids: tokens that start with a letter or a digit."""
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    return [token for token in tokens if token[0].isalnum()]


def _texts(tasks: Iterable[TaskSettings]) -> Iterator[str]:
    """Texts that together contain every word of the language."""
    yield from words.ANIMALS + words.LOOKS + words.PEOPLE + words.THINGS + words.PLACES + words.TIMES
    yield from words.OPEN_COMPARISONS + words.OPEN_PROPERTIES + words.OPEN_EVENTS
    for texts in (*words.COMPARISONS, *words.CHAINS, words.FRAMES):
        yield from texts
    yield from (word for word, _ in words.PROPERTIES)
    for questions in (TAUGHT, SHORTCUTS, *QUESTIONS.values()):
        for wordings in questions.values():
            yield from wordings
    # Words that occur only in the sentences and facts of scenes.
    yield "The is than the. In the. At the. stood it cause effect. What was? Before that. Then."
    yield "same turned opposite other yes no time place neither first last"
    yield from ECHO_INSTRUCTIONS
    for task in tasks:
        yield task.instruction
        yield from task.verbalizers
        yield task.template


def make_model(vocabulary: int) -> BloomForCausalLM:
    """A new model in which the key weights are initialised equal to the query weights.

    So from the first step a token attends to equal tokens (after mimetic initialisation, Trockman and Kolter 2023).

    Args:
        vocabulary: V, the number of tokens.
    """
    model = BloomForCausalLM(make_config(vocabulary))
    with torch.no_grad():
        for block in model.transformer.h:
            attention = block.self_attention
            # [H·3·e, d] -> [H, 3, e, d]; the 3 are query, key and value
            by_head = attention.query_key_value.weight.view(attention.num_heads, 3, attention.head_dim, -1)
            by_head[:, 1] = by_head[:, 0]
    return model


def make_config(vocabulary: int) -> BloomConfig:
    """The config of a BLOOM with fewer than a million parameters."""
    return BloomConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        n_layer=4,
        n_head=8,
        initializer_range=0.06,  # BLOOM's 0.02 is for wider models and learns thousands of steps more slowly here
        unk_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        hidden_dropout=0.0,
        attention_dropout=0.0,
    )
