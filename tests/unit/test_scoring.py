import math

import pytest
import torch

from softprompt.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.scoring import AnswerScores, score_all, score_answers
from softprompt.training.evaluation import ScoreMetrics, majority_share


def examples(labels):
    return [Example((5, 6), ((7, 2), (8, 9, 2)), label, f"here:{i}") for i, label in enumerate(labels)]


def test_scores_by_hand():
    metrics = ScoreMetrics(2)
    # Right and written; right but something else written; wrong, and the wrong answer written.
    log_probability = torch.tensor([[-1.0, -3.0], [-4.0, -2.0], [-3.0, -1.0]])
    written = torch.tensor([[True, False], [False, False], [False, True]])
    metrics.update(examples([0, 1, 0]), AnswerScores(log_probability, written))
    scores = metrics.compute()
    assert scores.n == 3
    assert scores.exact_match == pytest.approx(1 / 3)
    assert scores.invalid_prediction_rate == pytest.approx(1 / 3)
    assert scores.rank_accuracy == pytest.approx(2 / 3)
    assert scores.loss == pytest.approx((1 + 2 + 3) / (2 + 3 + 2))
    assert scores.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_scores_do_not_depend_on_the_batches():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (7,), generator=generator).tolist()
    all_scores = AnswerScores(
        -torch.rand(7, 2, generator=generator), torch.rand(7, 2, generator=generator) > 0.5
    )
    whole, parts = ScoreMetrics(2), ScoreMetrics(2)
    whole.update(examples(labels), all_scores)
    for part in (slice(0, 3), slice(3, 7)):
        parts.update(
            examples(labels)[part], AnswerScores(all_scores.log_probability[part], all_scores.written[part])
        )
    for name, value in vars(whole.compute()).items():
        assert vars(parts.compute())[name] == pytest.approx(value, abs=1e-6)


def test_majority_share_is_that_of_the_commonest_label():
    assert majority_share(examples([0, 1, 1, 1])) == 0.75


def test_log_probabilities_are_of_whole_answers(backbone: Backbone) -> None:
    """Against the plain forward over prompt, text and answer."""
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randn(3, 32, generator=generator) * 0.3
    (example,) = examples([0])
    scores = score_answers(backbone, [prompt], [example])
    for index, answer in enumerate(example.answers):
        embedded = backbone.model.get_input_embeddings()(torch.tensor([*example.text_ids, *answer]))
        logits = backbone.model(inputs_embeds=torch.cat([prompt, embedded])[None]).logits[0]
        predicted = logits[-len(answer) - 1 : -1].log_softmax(-1)
        expected = sum(row[token].item() for row, token in zip(predicted, answer, strict=True))
        assert scores.log_probability[0, index].item() == pytest.approx(expected, abs=1e-4)


def test_written_is_what_generate_writes(backbone: Backbone) -> None:
    """Exact match without a generation loop: what is generated greedily is written, and nothing else."""
    generator = torch.Generator().manual_seed(1)
    eos = backbone.tokenizer.eos_token_id
    with torch.no_grad():  # make the end of a sequence likely enough to be generated now and then
        head = backbone.model.get_output_embeddings().weight
        head[eos] = head[4:60].mean(0) + 0.9 * torch.randn(32, generator=generator)
    ended = 0
    for _ in range(40):
        prompt = torch.randn(3, 32, generator=generator) * 0.3
        text = torch.randint(4, 60, (6,), generator=generator).tolist()
        embedded = torch.cat([prompt, backbone.embed(text)])[None]
        generated = backbone.model.generate(
            inputs_embeds=embedded,
            attention_mask=torch.ones(embedded.shape[:2], dtype=torch.long),
            max_new_tokens=4,
            do_sample=False,
        )[0].tolist()
        answer = tuple(generated[: generated.index(eos) + 1] if eos in generated else generated)
        changed = (*answer[:-1], (answer[-1] + 1) % 60)
        other_end = (*answer[:-1], 7 if answer[-1] == eos else eos)
        example = Example(tuple(text), (answer, changed, other_end), 0, "here")
        assert score_answers(backbone, [prompt], [example]).written[0].tolist() == [True, False, False]
        ended += answer[-1] == eos
    assert 0 < ended < 40


def test_a_loss_that_is_no_number_for_one_example_shows():
    metrics = ScoreMetrics(2)
    log_probability = torch.tensor([[-1.0, -3.0], [math.nan, -2.0]])
    metrics.update(examples([0, 0]), AnswerScores(log_probability, torch.ones(2, 2, dtype=torch.bool)))
    assert math.isnan(metrics.compute().loss)


def test_an_empty_prompt_is_no_prompt(backbone: Backbone) -> None:
    (example,) = examples([0])
    scores = score_answers(backbone, [torch.empty(0, 32)], [example])
    logits = (
        backbone.model(torch.tensor([[*example.text_ids, *example.answers[0]]])).logits[0].log_softmax(-1)
    )
    expected = logits[1, 7].item() + logits[2, 2].item()
    assert scores.log_probability[0, 0].item() == pytest.approx(expected, abs=1e-4)
    assert math.isfinite(expected)


def test_a_data_set_is_scored_in_its_own_order_for_each_of_several_prompts(backbone):
    generator = torch.Generator().manual_seed(0)
    several = [
        Example(
            tuple(torch.randint(4, 60, (n,), generator=generator).tolist()),
            ((7, 2), (8, 9, 2)),
            0,
            f"here:{n}",
        )
        for n in (9, 2, 5, 7, 1)
    ]
    prompts = [torch.randn(n, backbone.width, generator=generator) * 0.3 for n in (3, 0, 2)]
    for prompt, parts in zip(prompts, score_all(backbone, prompts, several, answers=8), strict=True):
        whole = score_answers(backbone, [prompt], several)
        torch.testing.assert_close(parts.log_probability, whole.log_probability, atol=1e-4, rtol=1e-4)
        assert torch.equal(parts.written, whole.written)
