from dataclasses import replace

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from softprompt.data.examples import Example, check_lengths, tokenise
from softprompt.errors import UserError
from softprompt.tasks import Rendered


def test_text_and_answers_become_tokens(settings, tokenizer):
    (example,) = tokenise(settings.task, [Rendered("a dog Answer:", 2, "here:1")], tokenizer, 64)
    assert tokenizer.convert_ids_to_tokens(example.text_ids) == ["a", "dog", "Answer:"]
    answers = [tokenizer.convert_ids_to_tokens(answer) for answer in example.answers]
    assert answers == [["entailment", "</s>"], ["contradiction", "</s>"], ["neutral", "</s>"]]
    assert (example.label, example.where, example.length) == (2, "here:1", 5)


def test_an_answer_the_tokenizer_does_not_know_is_refused(settings, tokenizer):
    task = replace(settings.task, verbalizers={"entailment": [0], "perhaps": [1]})
    with pytest.raises(UserError, match="does not know the answer 'perhaps'"):
        tokenise(task, [Rendered("a dog", 0, "here:1")], tokenizer, 64)


def test_answers_with_the_same_tokens_are_refused(settings, tokenizer):
    task = replace(settings.task, verbalizers={"entailment": [0], "entailment ": [1]})
    with pytest.raises(UserError, match="here:1: two answers of task 'cb' have the same tokens"):
        tokenise(task, [Rendered("a dog", 0, "here:1")], tokenizer, 64)


def test_a_tokenizer_that_joins_text_and_answer_is_refused(settings):
    vocabulary = {"</s>": 0, "a": 1, " ": 2, "b": 3, "a ": 4}
    model = Tokenizer(BPE(vocabulary, [("a", " ")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, eos_token="</s>")
    task = replace(settings.task, verbalizers={"b": [0], "bb": [1]})
    with pytest.raises(UserError, match="here:1: the tokenizer joins the end of the text to the answer 'b'"):
        tokenise(task, [Rendered("ba", 0, "here:1")], tokenizer, 64)


def test_a_tokenizer_without_end_of_sequence_is_refused(settings):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({"a": 0}, [])))
    with pytest.raises(UserError, match="no end-of-sequence token"):
        tokenise(settings.task, [Rendered("a", 0, "here:1")], tokenizer, 64)


def test_examples_that_do_not_fit_the_context_are_refused():
    example = Example((5,) * 10, ((6, 2), (6, 7, 2)), 0, "here:1")
    check_lengths([example], 4, 16)  # the last token of an answer is predicted and never an input
    check_lengths([example], 1000, None)
    with pytest.raises(
        UserError,
        match=r"^here:1: 5 prompt rows and 13 tokens do not fit the model's context of 16; to cut a field .*, set "
        r"'data\.truncate=\{field: \.\.\., drop: end, prompt_rows: 5\}'$",
    ):
        check_lengths([example], 5, 16)


def test_other_answers_stand_after_the_own_ones():
    example = Example((5,), ((7, 2), (8, 2)), 1, "here:1").with_answers([(9, 9, 2), (7, 2)])
    assert example.answers == ((7, 2), (8, 2), (9, 9, 2))
    assert (example.right_answer, example.length) == ((8, 2), 4)
