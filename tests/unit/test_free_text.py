"""Answers that are free text: what is generated, and how it is compared with the right answers."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torchmetrics.text import SQuAD

from softprompt.backbone import Backbone
from softprompt.data.examples import Example, FreeText, check_lengths, tokenise
from softprompt.errors import UserError
from softprompt.free_text import is_right, normalised, token_f1, write_answers
from softprompt.parsing import config_of, parse_settings
from softprompt.scoring import score_all, score_answers
from softprompt.settings import Settings, TaskSettings
from softprompt.tasks import Record, Rendered, render
from softprompt.training.evaluation import ScoreMetrics, majority_share

PAIRS = [
    ("The Beatles", ["Beatles", "John Lennon"]),
    ("lennon, john!", ["Beatles", "John Lennon"]),
    ("john john john", ["john lennon"]),
    ("nobody at all", ["Beatles", "The Rolling Stones"]),
    ("", ["Beatles"]),
    ("the theatre and an actor", ["Theatre", "a theatre actor"]),
]


@pytest.fixture
def task(settings: Settings) -> TaskSettings:
    return replace(settings.task, label=None, verbalizers={}, answers="answers", max_answer_tokens=4)


@pytest.mark.parametrize(("written", "right"), PAIRS)
def test_exact_match_and_f1_are_those_of_squad(written: str, right: list[str]) -> None:
    metric = SQuAD()
    metric.update(
        [{"prediction_text": written, "id": "1"}],
        [{"answers": {"text": right, "answer_start": [0] * len(right)}, "id": "1"}],
    )
    expected = {name: value.item() / 100 for name, value in metric.compute().items()}
    assert is_right(written, right) == expected["exact_match"]
    assert token_f1(written, right) == pytest.approx(expected["f1"], abs=1e-6)


def test_normalised_text_has_no_case_punctuation_or_articles() -> None:
    assert normalised("  An Otter's\n the-end: A, b ") == "otters theend b"


def by_plain_generate(backbone: Backbone, prompt: torch.Tensor, text: list[int], count: int) -> str:
    """One example alone, by the model's own `generate`."""
    embedded = torch.cat([prompt, backbone.embed(text)])[None]
    written = backbone.model.generate(
        inputs_embeds=embedded,
        attention_mask=torch.ones(embedded.shape[:2], dtype=torch.long),
        max_new_tokens=count,
        do_sample=False,
    )[0]
    return str(backbone.tokenizer.decode(written, skip_special_tokens=True)).strip()


def test_what_is_written_side_by_side_is_what_each_writes_alone(backbone: Backbone) -> None:
    """With prompts and texts of several lengths; some answers end before others."""
    generator = torch.Generator().manual_seed(1)
    eos = backbone.tokenizer.eos_token_id
    with torch.no_grad():  # make the end of a sequence likely enough to be generated now and then
        head = backbone.model.get_output_embeddings().weight
        head[eos] = head[4:40].mean(0) + 0.9 * torch.randn(32, generator=generator)
    prompts = [torch.randn(n, 32, generator=generator) * 0.3 for n in (3, 0, 5)]
    lengths = [6, 2, 9, 4, 1, 7, 3, 5, 8, 2]
    texts = [torch.randint(4, 40, (n,), generator=generator).tolist() for n in lengths]
    examples = [Example(tuple(text), (), None, "here", None, FreeText((), 5)) for text in texts]
    prompt_of = [i % 3 for i in range(len(texts))]
    expected = [
        by_plain_generate(backbone, prompts[prompt], text, 5)
        for text, prompt in zip(texts, prompt_of, strict=True)
    ]
    own = backbone.model.generation_config
    own.repetition_penalty = 5.0  # of the model's own config, which is for chats
    assert write_answers(backbone, prompts, examples, prompt_of) == expected
    assert backbone.model.generation_config is own
    assert len({len(text.split()) for text in expected}) > 1 and len(set(expected)) > 5


def test_scores_are_of_the_first_right_answer_and_of_what_is_written(backbone: Backbone) -> None:
    """The loss as with a list of answers; exact match and F1 against all right answers."""
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randn(3, 32, generator=generator) * 0.3
    texts = [torch.randint(4, 40, (n,), generator=generator).tolist() for n in (4, 6, 2)]
    written = [by_plain_generate(backbone, prompt, text, 3) for text in texts]
    rights = [("no such", written[0].upper()), ("no such",), (written[2], "other")]
    examples = [
        Example(tuple(text), ((7, 8, 2),), 0, f"here:{i}", None, FreeText(right, 3))
        for i, (text, right) in enumerate(zip(texts, rights, strict=True))
    ]
    of_list = score_answers(backbone, [prompt], [replace(example, free_text=None) for example in examples])
    scores = score_answers(backbone, [prompt], examples)
    torch.testing.assert_close(scores.log_probability, of_list.log_probability)
    assert list(scores.texts) == written and scores.written[:, 0].tolist() == [True, False, True]
    (in_order,) = score_all(backbone, [prompt], examples)
    assert in_order.texts == scores.texts and torch.equal(in_order.written, scores.written)
    metrics = ScoreMetrics(0)
    metrics.update(examples[:2], scores.at([0, 1]))
    metrics.update(examples[2:], scores.at([2]))
    found = metrics.compute()
    assert found.exact_match == pytest.approx(2 / 3, abs=1e-6)
    f1 = [token_f1(text, right) for text, right in zip(written, rights, strict=True)]
    assert found.extra == {"token_f1": pytest.approx(sum(f1) / 3, abs=1e-6)}
    assert (found.rank_accuracy, found.macro_f1, found.invalid_prediction_rate) == (None, None, None)


def test_the_majority_is_the_answer_that_is_right_most_often() -> None:
    rights = [("Mary", "mary ann"), ("bob",), ("the Mary",), ("Bob", "Bob!")]
    examples = [Example((5,), ((7, 2),), 0, "", None, FreeText(right, 3)) for right in rights]
    assert majority_share(examples) == 0.5


FIELDS = {"premise": "a dog runs", "hypothesis": "a dog is big"}


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        ("red", ("red",)),
        ([" a  red\ncat ", "red", "red"], ("a red cat", "red")),
        (7, ("7",)),
        ([True], ("true",)),
    ],
)
def test_a_record_has_one_or_several_right_answers(
    task: TaskSettings, value: object, answers: tuple[str, ...]
) -> None:
    rendered = render(task, Record({**FIELDS, "answers": value}, "here:1"))
    assert (rendered.answers, rendered.label) == (answers, 0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "here:1: no answer (field 'answers'); a record without one can be used for prediction only"),
        ([], "here:1: no answer (field 'answers')"),
        ("  ", "here:1: field 'answers' has an empty answer"),
        (["red", None], "here:1: field 'answers' is null"),
        ({"text": "red"}, "here:1: field 'answers' should be text, a number, true or false, but is"),
    ],
)
def test_an_invalid_answer_is_named(task: TaskSettings, value: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        render(task, Record({**FIELDS, "answers": value}, "here:1"))
    assert str(caught.value).startswith(message)


def test_an_example_has_the_first_right_answer(task: TaskSettings, tokenizer: Any) -> None:
    rendered = [
        Rendered("a dog Answer:", 0, "here:1", ("red cat", "blue")),
        Rendered("a Answer:", 0, "here:2", ("big",)),
    ]
    examples = tokenise(task, rendered, tokenizer, 64)
    assert [tokenizer.decode(example.right_answer) for example in examples] == ["red cat </s>", "big </s>"]
    assert examples[0].free_text == FreeText(("red cat", "blue"), 4)
    assert examples[1].length == 2 + 4  # as many tokens as may be generated
    check_lengths(examples, 3, 9)
    with pytest.raises(UserError, match="4 prompt rows and 7 tokens do not fit"):
        check_lengths(examples, 4, 9)
    with pytest.raises(UserError, match=r"^here:3: the model's tokenizer does not know the answer 'Katze'"):
        tokenise(task, [Rendered("a Answer:", 0, "here:3", ("Katze",))], tokenizer, 64)
    (unlabelled,) = tokenise(task, [Rendered("a Answer:", None, "here:4")], tokenizer, 64)
    assert unlabelled.answers == () and unlabelled.length == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"verbalizers": None},
            "task.verbalizers is missing: set it or, if answers are free text, task.answers",
        ),
        ({"label": None}, "task.label is missing: set it or"),
        (
            {"answers": "answers"},
            "task.answers=answers: answers that are free text need task.label=null, task.verb",
        ),
        ({"answers": "answers", "label": None}, "task.answers=answers: answers that are free text need"),
    ],
)
def test_a_task_has_a_list_of_answers_or_free_text(
    config: dict[str, Any], changes: dict[str, object], message: str
) -> None:
    config["task"] |= changes
    with pytest.raises(UserError) as caught:
        parse_settings(config)
    assert str(caught.value).startswith(message)


def test_settings_of_free_text_become_a_config_and_back(config: dict[str, Any]) -> None:
    config["task"] |= {"label": None, "verbalizers": None, "answers": "answers"}
    settings = parse_settings(config)
    assert parse_settings(config_of(settings)) == settings and settings.task.answer_field == "answers"
