"""The mixture of instructions that the microworld's model is pretrained on, as BLOOMZ was on xP3."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from softprompt.microworld.scenes import LEVELS, Scene, draw
from softprompt.microworld.words import THINGS, WHOLE
from softprompt.pretraining.instructions import PARAPHRASES, QUESTIONS
from softprompt.settings import TaskSettings
from softprompt.tasks import Record, lift, render

# When things join, as shares of all lessons: the whole vocabulary has come in bit by bit at GROWN, and texts of the
# second and the third level of difficulty come from then on. A small world shows sooner what is asked for.
GROWN = 0.25
LEVELS_JOIN = (0.1, 0.3)

# Lists to be repeated: most lessons at first, then few. Looking back for a word's like is learnt from them soonest.
ECHO_SHARE = 1 / 20
ECHO_SHARE_AT_FIRST = 0.7
ECHO_TIME = 0.1
ECHO = ("Repeat the text.", "")

# Stories without a question: what follows from what.
STORY_SHARE = 1 / 8

# How often a task's own instruction is given, against each question about the facts of a scene: at first, and what is
# added to it by the end.
TASK_WEIGHT = 4
TASK_WEIGHT_ADDED = 12

# Whether the hypothesis turns the order round is what is learnt last, so it is asked more often, and from the start about
# texts that may do so.
ORDER_WEIGHT = 4
ORDER_LEVEL = 2

# Lessons without an instruction; what is then asked is mostly something else than the task.
UNASKED_SHARE = 1 / 8
UNASKED_QUESTION_WEIGHT = 3


@dataclass(frozen=True)
class Lesson:
    """An instruction (empty where nothing is asked), a text, and the answer (empty where the text is a story)."""

    instruction: str
    text: str
    answer: str


def taught_instructions(task: TaskSettings) -> tuple[str, ...]:
    """Every wording of a task's instruction that the model is taught, the task's own first."""
    return (task.instruction, *PARAPHRASES[task.folder])


class Curriculum:
    """An endless, reproducible stream of lessons about familiar scenes."""

    def __init__(self, tasks: Sequence[TaskSettings], seed: int) -> None:
        self.tasks = tasks
        self.random = random.Random(f"lessons {seed}")

    def lesson(self, progress: float) -> Lesson:
        """A lesson for when this share of all lessons is done."""
        if self.random.random() < max(ECHO_SHARE, ECHO_SHARE_AT_FIRST * (1 - progress / ECHO_TIME)):
            return self._echo()
        task = self.random.choice(self.tasks)
        questions = next(asked for folders, asked in QUESTIONS.items() if task.folder in folders)
        unasked = self.random.random() < UNASKED_SHARE
        task_weight = 1 / UNASKED_QUESTION_WEIGHT if unasked else TASK_WEIGHT + TASK_WEIGHT_ADDED * progress
        weights = [ORDER_WEIGHT if question == "order" else 1 for question in questions]
        about = self.random.choices([None, *questions], [task_weight, *weights])[0]
        level = self.random.choice(LEVELS[: 1 + sum(progress > start for start in LEVELS_JOIN)])
        if about == "order":
            level = max(level, ORDER_LEVEL)
        scene = draw(task.folder, level, False, self.random, WHOLE.part(progress / GROWN))
        if self.random.random() < STORY_SHARE:
            return Lesson("", scene.story, "")
        wordings = taught_instructions(task) if about is None else questions[about]
        text, label = render_scene(task, scene)
        return Lesson(
            "" if unasked else self.random.choice(wordings),
            text,
            label if about is None else scene.facts[about],
        )

    def _echo(self) -> Lesson:
        comparisons = [word for pair in WHOLE.comparisons for word in pair]
        words = [*WHOLE.animals, *THINGS, *WHOLE.people, *comparisons]
        listed = " ".join(self.random.sample(words, self.random.randint(3, 8)))
        return Lesson(self.random.choice(ECHO), f"\nText: {listed}\nAnswer:", listed)


def render_scene(task: TaskSettings, scene: Scene) -> tuple[str, str]:
    """A scene's text and right answer, as prompt tuning will see them."""
    rendered = render(task, Record(lift(scene.fields), "microworld"))
    assert rendered.label is not None
    return rendered.text, list(task.verbalizers)[rendered.label]
