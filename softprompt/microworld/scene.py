"""A scene: a record of the microworld together with other facts about it that a model can be asked for."""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from softprompt.microworld.words import World


@dataclass(frozen=True)
class Scene:
    """A record with other facts about it.

    Attributes:
        fields: the record, in the schema of the task's SuperGLUE file.
        story: the record's text, or its chain of events, and what follows from it, as plain sentences. Used in
            pretraining without a question.
        facts: answers to other questions about the record, by the question's name. The names are the keys of
            `QUESTIONS` in `softprompt/pretraining/instructions.py`; tasks of the microworld use them as labels.
        shortcut: the answer, as a label, that a reader gives who overlooks a part of the record. It is often right.
        combinations: the pairs in the record. The first is the pair that the label is about.
        decidable: False if the label cannot be known: it is drawn by chance.
    """

    fields: Mapping[str, Any]
    story: str
    facts: Mapping[str, str]
    shortcut: str | int | bool
    combinations: tuple[tuple[str, str], ...]
    decidable: bool = True

    @property
    def familiar(self) -> bool:
        """True if no pair in the record is novel: pretraining and prompt tuning use only such scenes."""
        return not any(map(is_novel, self.combinations))

    @property
    def novel(self) -> bool:
        """True if the pair that the label is about is novel."""
        return is_novel(self.combinations[0])


# (world, level, decidable, rng) -> scene
SceneGenerator = Callable[[World, int, bool, random.Random], Scene]


def is_novel(combination: tuple[str, str]) -> bool:
    """True for the eighth of all pairs that pretraining leaves out. The order of the pair makes no difference."""
    digest = hashlib.sha256(" ".join(sorted(combination)).encode()).digest()
    return digest[0] % 8 == 0
