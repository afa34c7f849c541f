"""Draws the lessons that the microworld's model is pretrained on: a mixture of instructions, as xP3 was for BLOOMZ.

A *lesson* is an instruction, a text and an answer. An *echo* is a lesson whose answer repeats a list of words.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from softprompt.microworld.scenes import LEVELS, Scene, draw
from softprompt.microworld.words import THINGS, WHOLE
from softprompt.pretraining.instructions import PARAPHRASES, QUESTIONS
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

# Weight of the task's own instruction; each other question has weight 1. It grows linearly by TASK_WEIGHT_GROWTH.
TASK_WEIGHT = 4
TASK_WEIGHT_GROWTH = 12

# The question whether the hypothesis swaps the animals is learnt last. So it has a higher weight, and its texts are at
# least of level 2, because level 1 never swaps them.
ORDER_WEIGHT = 4
ORDER_LEVEL = 2

# Share of lessons without an instruction among those about a text. Their answer is mostly to another question than the
# task's, so the weight of the task is lower there.
NO_INSTRUCTION_SHARE = 1 / 8
NO_INSTRUCTION_TASK_WEIGHT = 1 / 3


@dataclass(frozen=True)
class Lesson:
    """A training text of the model, in three parts."""

    instruction: str  # "" in a lesson without an instruction
    text: str
    answer: str  # "" if the text is a story


def taught_instructions(task: TaskSettings) -> tuple[str, ...]:
    """All wordings of a task's instruction that the model is taught; the task's own comes first."""
    return (task.instruction, *PARAPHRASES[task.folder])


class Curriculum:
    """Draws lessons about familiar scenes. The same tasks and seed give the same lessons."""

    def __init__(self, tasks: Sequence[TaskSettings], seed: int) -> None:
        self.tasks = tasks
        self.random = random.Random(f"lessons {seed}")

    def lesson(self, progress: float) -> Lesson:
        """Draw the next lesson.

        Args:
            progress: share of all training steps already done, 0 to 1. It sets vocabulary, difficulty and mixture.
        """
        if self.random.random() < max(ECHO_SHARE, ECHO_START_SHARE * (1 - progress / ECHO_DECAY)):
            return self._echo()
        task = self.random.choice(self.tasks)
        questions = next(wordings for folders, wordings in QUESTIONS.items() if task.folder in folders)
        instructed = self.random.random() >= NO_INSTRUCTION_SHARE
        task_weight = (
            TASK_WEIGHT + TASK_WEIGHT_GROWTH * progress if instructed else NO_INSTRUCTION_TASK_WEIGHT
        )
        weights = [ORDER_WEIGHT if question == "order" else 1 for question in questions]
        # None is the task itself.
        question = self.random.choices([None, *questions], [task_weight, *weights])[0]
        level = self.random.choice(LEVELS[: 1 + sum(progress > start for start in LEVEL_STARTS)])
        if question == "order":
            level = max(level, ORDER_LEVEL)
        scene = draw(task.folder, level, False, self.random, WHOLE.part(progress / FULL_WORLD))
        if self.random.random() < STORY_SHARE:
            return Lesson("", scene.story, "")
        wordings = taught_instructions(task) if question is None else questions[question]
        text, label = render_scene(task, scene)
        return Lesson(
            self.random.choice(wordings) if instructed else "",
            text,
            label if question is None else scene.facts[question],
        )

    def _echo(self) -> Lesson:
        comparisons = [word for pair in WHOLE.comparisons for word in pair]
        words = [*WHOLE.animals, *THINGS, *WHOLE.people, *comparisons]
        word_list = " ".join(self.random.sample(words, self.random.randint(3, 8)))
        return Lesson(self.random.choice(ECHO_INSTRUCTIONS), f"\nText: {word_list}\nAnswer:", word_list)


def render_scene(task: TaskSettings, scene: Scene) -> tuple[str, str]:
    """The text and the right answer of a scene, rendered with the task's template as in prompt tuning."""
    rendered = render(task, Record(lift(scene.fields, "microworld"), "microworld"))
    assert rendered.label is not None
    return rendered.text, list(task.verbalizers)[rendered.label]
