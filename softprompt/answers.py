"""What prompts answer on a task's validation set, cached on disk."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.progress import track
from safetensors.numpy import load, save
from torch import Tensor

from softprompt.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.files import Damaged, seal, sha256, unseal, write_atomically
from softprompt.scoring import labels_of, score_all

PROMPTS_AT_ONCE = 16  # between two steps of a progress bar

Group = Sequence[Float[Tensor, "_ d"]]


@dataclass(frozen=True)
class Answers:
    """How P prompts do on E examples."""

    exact_match: Bool[np.ndarray, "P E"]  # greedy generation writes the right answer
    rank_correct: Bool[np.ndarray, "P E"]  # the right answer is the most likely of the examples' answers
    most_likely: Int[np.ndarray, "P E"]  # the index of the most likely answer
    loss: Float[np.ndarray, "P E"]  # of the right answer, nats summed over its tokens


@dataclass(frozen=True)
class AnswerCache:
    """Answers of groups of prompts, one file per group.

    A file's name is a hash of all that its content depends on: `context`, the matrices, the names of what is stored.

    Attributes:
        folder: where the files are.
        backbone: the model that answers.
        console: where a progress bar is shown.
    """

    folder: Path
    backbone: Backbone
    console: Console

    def answers(
        self, groups: Sequence[Group], examples: Sequence[Example], context: Sequence[object], task: str
    ) -> list[Answers]:
        """The answers of each group; scores those that are not cached.

        Args:
            groups: prompts whose answers are stored together.
            examples: E labelled examples of one task.
            context: what tells the examples, their answers and the model from others, as plain values.
            task: for the progress bar.
        """
        stored = [field.name for field in fields(Answers)]
        prefix = json.dumps([*context, len(examples), stored], sort_keys=True).encode()
        paths = [self.folder / f"{_content_hash(prefix, group)}.answers" for group in groups]
        missing = list({path: index for index, path in enumerate(paths) if _stored(path) is None}.values())
        # Several small groups are scored side by side; a large one alone.
        side_by_side = max(1, PROMPTS_AT_ONCE // max(map(len, groups), default=1))
        for start in track(
            range(0, len(missing), side_by_side),
            description=f"answering {task}",
            console=self.console,
            transient=True,
            disable=not (missing and self.console.is_terminal),
        ):
            self._score([(groups[i], paths[i]) for i in missing[start : start + side_by_side]], examples)
        return [Answers(**load(unseal(path.read_bytes(), path.stem))) for path in paths]

    def _score(self, groups: Sequence[tuple[Group, Path]], examples: Sequence[Example]) -> None:
        """Score several groups of prompts side by side and write each group's answers to its path."""
        # By content, because some edits leave a prompt unchanged.
        prompts = {_content_hash(b"", [prompt]): prompt for group, _ in groups for prompt in group}
        scores = score_all(self.backbone, list(prompts.values()), examples)
        labels = labels_of(examples)
        outcomes = {
            name: {key: value.numpy() for key, value in vars(prompt_scores.outcomes(labels)).items()}
            for name, prompt_scores in zip(prompts, scores, strict=True)
        }
        for group, path in groups:
            of_group = [outcomes[_content_hash(b"", [prompt])] for prompt in group]
            # P times [E] -> [P, E]
            stacked = {key: np.stack([outcome[key] for outcome in of_group]) for key in of_group[0]}
            write_atomically(path, seal(save(stacked), path.stem))


def _stored(path: Path) -> Answers | None:
    """The answers in a file; None if there is no such file, or it is damaged or has the answers of other prompts."""
    try:
        return Answers(**load(unseal(path.read_bytes(), path.stem)))
    except (OSError, Damaged):
        return None


def _content_hash(context: bytes, group: Group) -> str:
    shapes = json.dumps([list(prompt.shape) for prompt in group]).encode()
    return sha256(context + shapes + b"".join(prompt.numpy().tobytes() for prompt in group))[:16]
