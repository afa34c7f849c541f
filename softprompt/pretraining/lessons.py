"""Draws the lessons that the microworld's model is pretrained on: a mixture of instructions, as xP3 was for BLOOMZ.

A *lesson* is an instruction, a text and an answer. An *echo* is a lesson whose answer repeats a list of words.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from softprompt.microworld.scene import Scene
from softprompt.microworld.scenes import LEVELS, UNDECIDABLE, draw
from softprompt.microworld.words import WHOLE
from softprompt.pretraining.instructions import QUESTIONS, SHORTCUTS, TAUGHT
from softprompt.settings import TaskSettings
from softprompt.tasks import Record, lift, render

# The curriculum, in shares of all training steps. The vocabulary grows linearly and is complete at FULL_WORLD. Texts of
# level 2 and level 3 are drawn from LEVEL_STARTS on. With few words the model learns the instructions sooner.
FULL_WORLD = 0.25
LEVEL_STARTS = (0.1, 0.3)

# Share of echoes: starts at ECHO_START_SHARE and falls linearly, to reach 0 at ECHO_DECAY, but not below ECHO_SHARE.
# Echoes are the fastest way to learn to attend to an earlier occurrence of the same word.
ECHO_SHARE = 1 / 20
ECHO_START_SHARE = 0.7
ECHO_DECAY = 0.1
ECHO_INSTRUCTIONS = ("Repeat the text.", "")

# Share of stories among the other lessons. A story has no instruction and no answer.
STORY_SHARE = 1 / 8

# Weights of the tasks. COPA's chains of events are learnt last.
TASK_WEIGHTS = {"CB": 1.0, "RTE": 1.0, "COPA": 1.5, "WSC": 1.0}

# What a lesson can ask for besides the facts of its scene.
TASK, SHORTCUT = "task", "shortcut"

# Weight of the question that the task asks; each other question has weight 1. It grows linearly by OWN_WEIGHT_GROWTH.
OWN_WEIGHT = 4
OWN_WEIGHT_GROWTH = 12
SHORTCUT_WEIGHT = 3

# Facts with few possible answers.
LABELS = ("order", "kind of comparison", "look", "question", "setting", "one story", "position", "colour")

# Share of undecidable scenes in lessons about RTE, COPA and WSC, and the facts that such scenes do not have.
UNDECIDABLE_LESSONS = 1 / 8
NEEDS_LABEL = ("last word of the right choice", "referent")

# Weights of the facts that are learnt last; all others have weight 1. Texts about the order of the animals are at least
# of level 2, because level 1 never swaps them.
FACT_WEIGHTS = {"order": 4, "position": 4, "one story": 2}
ORDER_LEVEL = 2

# Share of lessons without an instruction among those about a text. Their answer is to any question, mostly to another
# one than the task. From CHANCE_START on, an answer that is a label is that of another scene, and labels have
# NO_INSTRUCTION_LABEL_WEIGHT, so that in the end the model does no task without an instruction. With other scenes from the
# start, it learns the order of the animals thousands of steps later.
NO_INSTRUCTION_SHARE = 1 / 8
NO_INSTRUCTION_OWN_WEIGHT = 1 / 3
NO_INSTRUCTION_LABEL_WEIGHT = 2
CHANCE_START = 0.6


@dataclass(frozen=True)
class Lesson:
    """A training text of the model, in three parts."""

    instruction: str  # "" in a lesson without an instruction
    text: str
    answer: str  # "" if the text is a story


def taught_instructions(task: TaskSettings) -> tuple[str, ...]:
    """All wordings of a task's instruction that the model is taught. The task's own is not one of them."""
    if task.folder in TAUGHT:
        return TAUGHT[task.folder]
    return next(
        questions[task.answer_field] for questions in QUESTIONS.values() if task.answer_field in questions
    )


class Curriculum:
    """Draws lessons about familiar scenes. The same tasks and seed give the same lessons.

    Args:
        tasks: CB, RTE, COPA and WSC.
        seed: determines all random choices.
        vocabulary: the words to repeat in echoes.
    """

    def __init__(self, tasks: Sequence[TaskSettings], seed: int, vocabulary: Sequence[str]) -> None:
        self.tasks = tasks
        self.random = random.Random(f"lessons {seed}")
        self.vocabulary = vocabulary

    def lesson(self, progress: float) -> Lesson:
        """Draw the next lesson.

        Args:
            progress: share of all training steps already done, 0 to 1. It sets vocabulary, difficulty and mixture.
        """
        if self.random.random() < max(ECHO_SHARE, ECHO_START_SHARE * (1 - progress / ECHO_DECAY)):
            return self._echo()
        (task,) = self.random.choices(self.tasks, [TASK_WEIGHTS[task.folder] for task in self.tasks])
        levels = LEVELS[: 1 + sum(progress > start for start in LEVEL_STARTS)]
        world = WHOLE.part(progress / FULL_WORLD)
        decidable = task.folder not in UNDECIDABLE or self.random.random() >= UNDECIDABLE_LESSONS
        instructed = self.random.random() >= NO_INSTRUCTION_SHARE
        weights = self._weights(task, progress, decidable, instructed)
        question = self.random.choices(list(weights), list(weights.values()))[0]

        def scene() -> Scene:
            at_least = ORDER_LEVEL if question == "order" else 1
            level = max(self.random.choice(levels), at_least)
            return draw(task.folder, level, False, self.random, world, decidable)

        asked = scene()
        if self.random.random() < STORY_SHARE:
            return Lesson("", asked.story, "")
        text, _ = render_scene(task, asked)
        if not instructed:
            by_chance = is_label(question) and progress > CHANCE_START
            return Lesson("", text, answer_to(question, task, scene() if by_chance else asked))
        return Lesson(self.random.choice(wordings_of(question, task)), text, answer_to(question, task, asked))

    def _weights(
        self, task: TaskSettings, progress: float, decidable: bool, instructed: bool
    ) -> dict[str, float]:
        """Of the task, its shortcut, and each fact. About the label of an undecidable scene nothing is taught."""
        facts = dict.fromkeys(questions_of(task), 1.0)
        if not decidable:
            return {fact: weight for fact, weight in facts.items() if fact not in NEEDS_LABEL}
        if not instructed and progress > CHANCE_START:
            return {
                question: NO_INSTRUCTION_LABEL_WEIGHT if is_label(question) else 1.0
                for question in (TASK, SHORTCUT, *facts)
            }
        facts |= {fact: weight for fact, weight in FACT_WEIGHTS.items() if fact in facts}
        if not instructed:
            return {TASK: NO_INSTRUCTION_OWN_WEIGHT, SHORTCUT: NO_INSTRUCTION_OWN_WEIGHT, **facts}
        return {TASK: OWN_WEIGHT + OWN_WEIGHT_GROWTH * progress, SHORTCUT: SHORTCUT_WEIGHT, **facts}

    def _echo(self) -> Lesson:
        word_list = " ".join(self.random.sample(self.vocabulary, self.random.randint(3, 8)))
        return Lesson(self.random.choice(ECHO_INSTRUCTIONS), f"\nText: {word_list}\nAnswer:", word_list)


def questions_of(task: TaskSettings) -> Mapping[str, tuple[str, ...]]:
    """The facts that can be asked for in a task's texts, with their wordings."""
    return next(questions for folders, questions in QUESTIONS.items() if task.folder in folders)


def wordings_of(question: str, task: TaskSettings) -> tuple[str, ...]:
    """The wordings of a question: TASK, SHORTCUT or a fact."""
    if question == TASK:
        return TAUGHT[task.folder]
    return SHORTCUTS[task.folder] if question == SHORTCUT else questions_of(task)[question]


def answer_to(question: str, task: TaskSettings, scene: Scene) -> str:
    """The answer to a question about a scene."""
    if question == TASK:
        return render_scene(task, scene)[1]
    if question == SHORTCUT:
        return render_scene(task, replace(scene, fields={**scene.fields, "label": scene.shortcut}))[1]
    return scene.facts[question]


def is_label(question: str) -> bool:
    """True if the answer is one of a few words; False if it is a word of the text."""
    return question in (TASK, SHORTCUT, *LABELS)


def render_scene(task: TaskSettings, scene: Scene) -> tuple[str, str]:
    """The text and the right answer of a scene, rendered with the task's template as in prompt tuning."""
    rendered = render(task, Record(lift(scene.fields, "microworld"), "microworld"))
    assert rendered.label is not None
    return rendered.text, list(task.verbalizers)[rendered.label]
