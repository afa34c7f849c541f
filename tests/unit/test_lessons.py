"""The lessons and the tokenizer that the microworld's model is pretrained with."""

import random
import re
from collections import Counter
from functools import cache

import pytest
import yaml

from softprompt.microworld.scene import Scene
from softprompt.microworld.scenes import LEVELS, SCENES, draw, draw_splits
from softprompt.parsing import parse_microworld_data, parse_task_settings
from softprompt.pretraining.__main__ import TASKS as TASK_NAMES
from softprompt.pretraining.instructions import QUESTIONS, SHORTCUTS, TAUGHT
from softprompt.pretraining.language import make_tokenizer, vocabulary_words
from softprompt.pretraining.lessons import NEEDS_LABEL, Curriculum, taught_instructions
from tests.conftest import ROOT

TASKS = [
    parse_task_settings(yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text())) for name in TASK_NAMES
]
MAIN_TASKS = TASKS[:4]
WORDS = vocabulary_words(make_tokenizer(TASKS))
DATA = parse_microworld_data(yaml.safe_load((ROOT / "conf/data/microworld.yaml").read_text()))


@cache
def lessons(count: int, seed: int = 0, progress: float = 0.9):
    curriculum = Curriculum(MAIN_TASKS, seed, WORDS)
    return [curriculum.lesson(progress) for _ in range(count)]


def test_lessons_are_reproducible():
    assert lessons(50) == lessons.__wrapped__(50)
    assert lessons(50) != lessons(50, seed=1)


def test_the_tokenizer_knows_every_word_of_the_lessons():
    tokenizer = make_tokenizer(TASKS)
    assert 300 <= len(tokenizer) <= 2000
    texts = [f"{lesson.instruction} {lesson.text} {lesson.answer}" for lesson in lessons(1500)]
    texts += [lesson.text for lesson in lessons(300, progress=0.0)]
    assert not any(tokenizer.unk_token_id in ids for ids in tokenizer(texts)["input_ids"])
    assert tokenizer("Not_entailment!")["input_ids"][:1] == tokenizer("not_entailment")["input_ids"]
    assert [tokenizer.unk_token_id] == tokenizer("quantum")["input_ids"]


def test_every_text_has_at_least_six_instructions_with_two_wordings_each():
    for folders, questions in QUESTIONS.items():
        assert len(questions) + len(folders) >= 6
        for folder in folders:
            rng = random.Random(0)
            assert set(questions) == set(draw(folder, 1, False, rng).facts)
            if folder != "CB":
                undecidable: Scene = draw(folder, 1, False, rng, decidable=False)
                assert set(questions) - set(NEEDS_LABEL) == set(undecidable.facts)
        assert all(len(wordings) >= 2 for wordings in questions.values())


def all_wordings() -> list[str]:
    return [
        text
        for questions in (TAUGHT, SHORTCUTS, *QUESTIONS.values())
        for texts in questions.values()
        for text in texts
    ]


def test_every_wording_has_one_meaning():
    # CB and RTE have the same kind of text and share its questions, which occur once here. No wording is repeated.
    assert [text for text, count in Counter(all_wordings()).items() if count > 1] == []
    assert set(TAUGHT) == set(SHORTCUTS) == {task.folder for task in MAIN_TASKS} < set(SCENES)


def test_the_tasks_own_instructions_are_in_no_lesson():
    own = {task.instruction for task in TASKS}
    assert len(own) == len(TASKS) == 12 and not own & set(all_wordings())
    assert not own & {lesson.instruction for lesson in lessons(3000)}
    # Every lesson's instruction is a known wording, so none is held out by a change of a letter.
    assert {lesson.instruction for lesson in lessons(3000)} <= {*all_wordings(), "", "Repeat the text."}


def content_words(text: str) -> set[str]:
    text = text.replace("sentences", "sentence")
    function_words = {"the", "of", "or", "a", "an", "is", "if", "by", "to", "in", "that", "it", "what"}
    return set(re.findall(r"\w+", text.lower())) - function_words


def test_every_word_of_a_taught_wording_occurs_in_other_questions():
    """Each content word, in two others at least: of the facts, or of the other tasks."""
    others = {
        (number, name): set().union(*map(content_words, wordings))
        for number, questions in enumerate((TAUGHT, *QUESTIONS.values()))
        for name, wordings in questions.items()
    }
    for folder, wordings in TAUGHT.items():
        for word in set().union(*map(content_words, wordings)):
            elsewhere = [key for key, words in others.items() if word in words and key != (0, folder)]
            assert len(elsewhere) >= 2, (folder, word)


def test_most_words_of_the_tasks_own_instructions_occur_in_their_shortcuts():
    for task in MAIN_TASKS:
        own = content_words(task.instruction)
        shortcut = set().union(*map(content_words, SHORTCUTS[task.folder]))
        taught = set().union(*map(content_words, TAUGHT[task.folder]))
        assert len(own & shortcut) >= 0.8 * len(own) and len(own & taught) <= 0.3 * len(own), task.name


def test_an_eighth_of_lessons_have_no_instruction_and_the_share_of_task_instructions_grows():
    task_instructions = {text for task in MAIN_TASKS for text in taught_instructions(task)}

    def shares(progress: float) -> tuple[float, float]:
        drawn = [
            lesson for lesson in lessons(2000, progress=progress) if lesson.answer and "span" in lesson.text
        ]
        instructed = [lesson for lesson in drawn if lesson.instruction]
        about_task = sum(lesson.instruction in task_instructions for lesson in instructed)
        return 1 - len(instructed) / len(drawn), about_task / len(instructed)

    (uninstructed, early), (_, late) = shares(0.3), shares(1.0)
    assert uninstructed == pytest.approx(1 / 8, abs=0.04)
    assert 0.25 < early < 0.4 < late < 0.6


def test_most_lessons_are_echoes_at_first_and_few_later():
    def echo_share(progress: float) -> float:
        texts = [lesson.text for lesson in lessons(500, progress=progress)]
        return sum(text.startswith("\nText:") and "span" not in text for text in texts) / 500

    assert echo_share(0.0) > 0.6 > 0.1 > echo_share(0.5) > 0


def test_no_lesson_has_a_pair_that_a_validation_label_is_about():
    """The pairs are parsed from the lessons' texts, not taken from their scenes."""
    validation_pairs = {
        frozenset(scene.combinations[0])
        for scene in draw_splits("RTE", DATA.seed, DATA.train, DATA.validation)["validation"]
    }
    for lesson in lessons(1500):
        for first, second in re.findall(r"(\w+) is \w+ than the (\w+)", lesson.text):
            assert frozenset((first, second)) not in validation_pairs


def test_difficulty_and_vocabulary_grow_with_progress():
    def premises(progress: float) -> list[str]:
        return re.findall(
            r"Premise: (The .*)", "\n".join(lesson.text for lesson in lessons(600, progress=progress))
        )

    assert LEVELS == (1, 2, 3)
    assert not any(text.count(".") == 2 for text in premises(0.2))
    assert any(text.count(".") == 2 for text in premises(0.5))
    assert not any("monkey" in text or "tiger" in text for text in premises(0.05))
    assert any("tiger" in text for text in premises(0.5))
