"""What the microworld's model is taught."""

import re
from collections import Counter

import pytest
import yaml

from softprompt.microworld.scenes import LEVELS, SCENES, draw, draw_splits
from softprompt.parsing import parse_microworld_data, parse_task_settings
from softprompt.pretraining.instructions import PARAPHRASES, QUESTIONS
from softprompt.pretraining.language import make_tokenizer
from softprompt.pretraining.lessons import Curriculum, taught_instructions
from tests.conftest import ROOT

TASKS = [
    parse_task_settings(yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text()))
    for name in ("cb", "rte", "copa", "wsc")
]
DATA = parse_microworld_data(yaml.safe_load((ROOT / "conf/data/microworld.yaml").read_text()))


def lessons(count: int, seed: int = 0, progress: float = 0.9):
    curriculum = Curriculum(TASKS, seed)
    return [curriculum.lesson(progress) for _ in range(count)]


def test_lessons_are_reproducible():
    assert lessons(50) == lessons(50)
    assert lessons(50) != lessons(50, seed=1)


def test_the_tokenizer_knows_every_word_that_is_said():
    tokenizer = make_tokenizer(TASKS)
    assert 300 <= len(tokenizer) <= 2000
    said = [f"{lesson.instruction} {lesson.text} {lesson.answer}" for lesson in lessons(1500)]
    said += [lesson.text for lesson in lessons(300, progress=0.0)]
    assert not any(tokenizer.unk_token_id in ids for ids in tokenizer(said)["input_ids"])
    assert tokenizer("Not_entailment!")["input_ids"][:1] == tokenizer("not_entailment")["input_ids"]
    assert [tokenizer.unk_token_id] == tokenizer("quantum")["input_ids"]


def test_a_text_is_asked_about_in_many_ways():
    for folders, questions in QUESTIONS.items():
        assert len(questions) + len(folders) >= 6
        for folder in folders:
            scene = draw(folder, 1, False, Curriculum(TASKS, 0).random)
            assert set(questions) == set(scene.facts)
        assert all(len(wordings) >= 2 for wordings in questions.values())


def test_no_wording_means_two_things():
    wordings = [text for task in TASKS for text in taught_instructions(task)]
    wordings += [text for questions in QUESTIONS.values() for texts in questions.values() for text in texts]
    # CB and RTE share their text, and so the questions about it; nothing else is said twice for one kind of text.
    assert [text for text, count in Counter(wordings).items() if count > 1] == []
    assert set(PARAPHRASES) == set(SCENES)


def test_few_lessons_about_a_text_have_no_instruction_and_ever_more_are_the_tasks():
    taught = {text for task in TASKS for text in taught_instructions(task)}

    def shares(progress: float) -> tuple[float, float]:
        drawn = [
            lesson for lesson in lessons(3000, progress=progress) if lesson.answer and "span" in lesson.text
        ]
        asked = [lesson for lesson in drawn if lesson.instruction]
        return 1 - len(asked) / len(drawn), sum(x.instruction in taught for x in asked) / len(asked)

    (unasked, early), (_, late) = shares(0.3), shares(1.0)
    assert unasked == pytest.approx(1 / 8, abs=0.04)
    assert 0.5 < early < 0.68 < late < 0.85


def test_lists_to_repeat_come_first():
    def echoes(progress: float) -> float:
        drawn = [lesson.text for lesson in lessons(500, progress=progress)]
        return sum(text.startswith("\nText:") and "span" not in text for text in drawn) / 500

    assert echoes(0.0) > 0.6 > 0.1 > echoes(0.5) > 0


def test_no_lesson_has_a_pair_that_validation_is_about():
    """Read off the lessons' texts, not their scenes."""
    held_out = {
        frozenset(scene.combinations[0])
        for scene in draw_splits("RTE", DATA.seed, DATA.train, DATA.validation)["validation"]
    }
    for lesson in lessons(1500):
        for first, second in re.findall(r"(\w+) is \w+ than the (\w+)", lesson.text):
            assert frozenset((first, second)) not in held_out


def test_levels_join_one_after_the_other_and_the_world_grows():
    def premises(progress: float) -> list[str]:
        return re.findall(
            r"Premise: (The .*)", "\n".join(lesson.text for lesson in lessons(600, progress=progress))
        )

    assert LEVELS == (1, 2, 3)
    assert not any(text.count(".") == 2 for text in premises(0.2))
    assert any(text.count(".") == 2 for text in premises(0.5))
    assert not any("monkey" in text or "tiger" in text for text in premises(0.05))
    assert any("tiger" in text for text in premises(0.5))
