"""What an analysis starts from: the finished runs of one model, and what their prompts answer on every task."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from rich.console import Console
from rich.progress import track
from safetensors.numpy import load, save
from torch import Tensor

from softprompt.analysis.neighbours import nearest_tokens
from softprompt.backbone import Backbone, load_backbone, model_fingerprint
from softprompt.data.examples import Example, check_lengths, tokenise
from softprompt.data.sources import read_records
from softprompt.errors import UserError
from softprompt.evaluation import AnswerScores, score_all
from softprompt.files import sha256, write_atomically
from softprompt.prompt import SoftPrompt
from softprompt.report.variants import variant_names
from softprompt.run import FinishedRun, find_runs
from softprompt.settings import DataSettings, Settings, TaskSettings
from softprompt.tasks import render

PROMPTS_AT_ONCE = 16  # between two steps of a progress bar


@dataclass(frozen=True)
class Answers:
    """What P prompts make of E examples."""

    right: Bool[np.ndarray, "P E"]  # it writes the right answer
    likeliest: Bool[np.ndarray, "P E"]  # the right answer is the likeliest of the task's
    loss: Float[np.ndarray, "P E"]  # of the right answer, in nats over all its tokens


@dataclass(frozen=True)
class Target:
    """A task's validation set, as the runs of a sweep met it."""

    task: TaskSettings
    examples: list[Example]
    fingerprint: dict[str, str]


class Study:
    """The finished runs under a folder.

    Raises:
        UserError: there is none, they are of several models, or a file or the model cannot be read.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder = folder
        self.console = console
        self.runs: list[FinishedRun] = find_runs(folder)
        order = {init: place for place, init in enumerate(("text", "vocab", "random", "file"))}
        names = dict(
            zip(
                [run.path for run in self.runs],
                variant_names([run.settings for run in self.runs]),
                strict=True,
            )
        )
        self.runs.sort(key=lambda run: (order[run.settings.prompt.init], names[run.path], run.settings.seed))
        models = {f"{run.settings.model.id} in {run.result['backbone']['dtype']}" for run in self.runs}
        if len(models) > 1:
            raise UserError(
                f"sweep={folder}: its runs are of {len(models)} models ({', '.join(sorted(models))}), whose "
                "prompts cannot be compared; give every model a sweep of its own"
            )
        self.settings: Settings = self.runs[0].settings
        self.labels = pd.DataFrame(
            {
                "run": [run.path.name for run in self.runs],
                "task": [run.settings.task.name for run in self.runs],
                "variant": [names[run.path] for run in self.runs],
                "seed": [run.settings.seed for run in self.runs],
            }
        )

    @cached_property
    def prompts(self) -> list[SoftPrompt]:
        """The best prompt of every run."""
        return [run.prompt() for run in self.runs]

    @cached_property
    def backbone(self) -> Backbone:
        """The model behind the prompts, in the dtype that they were trained with."""
        dtype = getattr(torch, self.runs[0].result["backbone"]["dtype"])
        backbone = load_backbone(self.settings.model, dtype)
        if torch.cuda.is_available():
            backbone.to(torch.device("cuda"))
        return backbone

    @cached_property
    def targets(self) -> dict[str, Target]:
        """The validation set of every task that a run was trained on.

        Raises:
            UserError: data or model are not what a run was trained with, runs of one task have another template, or a
                text does not fit the model's context behind the longest of all prompts.
        """
        found: dict[str, Target] = {}
        for run in self.runs:
            task, data = run.settings.task, run.settings.data
            if task.name not in found:
                found[task.name] = self._target(task, data)
            target = found[task.name]
            if replace(task, instruction=target.task.instruction) != target.task:
                raise UserError(
                    f"{run.path}: its template or verbalizers are not those of other runs of task {task.name!r}; give it "
                    "a sweep of its own"
                )
            now = {**target.fingerprint, **(model_fingerprint(self.settings.model))}
            changed = [name for name, value in run.result["hashes"].items() if now.get(name) != value]
            if changed:
                raise UserError(
                    f"{run.path}: was trained with another {changed[0]} than is there now; analyse it where that is, or "
                    "train it anew in a sweep of its own"
                )
        return found

    def _target(self, task: TaskSettings, data: DataSettings) -> Target:
        records = read_records(data, task)
        rendered = [render(task, record) for record in records.splits["validation"]]
        examples = tokenise(task, rendered, self.backbone.tokenizer)
        # Every prompt is tried on every task.
        check_lengths(
            examples, max(len(prompt.matrix) for prompt in self.prompts), self.backbone.context_length
        )
        return Target(task, examples, dict(records.fingerprint))

    @cached_property
    def starts(self) -> list[Float[Tensor, "_ d"]]:
        """The matrix that every run started from."""
        return [SoftPrompt.load(run.path / "initial.safetensors").matrix for run in self.runs]

    def in_space(self, rows: Float[Tensor, "n d"], space: str) -> Float[Tensor, "n d"]:
        """Rows as they are stored (`raw`), or as the model reads them less the vocabulary's mean (`as read`)."""
        return rows if space == "raw" else self.backbone.as_read(rows) - self._mean_as_read

    def vocabulary(self, space: str) -> Iterator[Float[Tensor, "_ d"]]:
        """The embedding table in a space, in pieces."""
        for chunk in self.backbone.embedding_chunks():
            yield self.in_space(chunk, space)

    @cached_property
    def _mean_as_read(self) -> Float[Tensor, "d"]:
        return _mean(map(self.backbone.as_read, self.backbone.embedding_chunks()))

    @cached_property
    def mean_embedding(self) -> Float[Tensor, "d"]:
        """The vocabulary's mean, as it is stored."""
        return _mean(self.backbone.embedding_chunks())

    @cached_property
    def nearest(self) -> list[list[int]]:
        """The token nearest to every row of every prompt, as they are stored."""
        rows = torch.cat([prompt.matrix for prompt in self.prompts])
        ids, _ = nearest_tokens(rows, self.vocabulary("raw"), 1)
        return [part[:, 0].tolist() for part in torch.split(ids, [len(p.matrix) for p in self.prompts])]

    def text_of(self, token: int) -> str:
        """A token as a reader would write it."""
        text = str(self.backbone.tokenizer.decode([token]))
        # A part of a character decodes to nothing readable; its name in the vocabulary says more.
        name = self.backbone.tokenizer.convert_ids_to_tokens(token)
        return str(name) if "\ufffd" in text or not text else text

    def answers(
        self, groups: Sequence[Sequence[Float[Tensor, "_ d"]]], target: str, examples: int | None = None
    ) -> list[Answers]:
        """What the prompts of each group answer on a task's validation set, or on so many evenly spaced examples of it.

        Every group's answers are kept by content in `<sweep>/analysis/cache`.
        """
        wanted = self.targets[target]
        count = len(wanted.examples)
        chosen = [
            wanted.examples[i] for i in np.linspace(0, count - 1, min(examples or count, count)).astype(int)
        ]
        asked = [
            asdict(wanted.task),
            wanted.fingerprint,
            self._model_hash,
            str(self.backbone.dtype),
            len(chosen),
        ]
        common = json.dumps(asked, sort_keys=True).encode()
        paths = [
            self.folder / "analysis" / "cache" / f"{_content(common, group)}.safetensors" for group in groups
        ]
        missing = list({path: index for index, path in enumerate(paths) if not path.exists()}.values())
        # Several small groups go side by side; a large one goes alone.
        side_by_side = max(1, PROMPTS_AT_ONCE // max(map(len, groups), default=1))
        for start in track(
            range(0, len(missing), side_by_side),
            description=f"answering {target}",
            console=self.console,
            transient=True,
            disable=not (missing and self.console.is_terminal),
        ):
            together = missing[start : start + side_by_side]
            # A row set back to what it still is makes no other prompt.
            prompts = {_content(b"", [prompt]): prompt for index in together for prompt in groups[index]}
            scores = score_all(self.backbone, list(prompts.values()), chosen)
            found = {name: _answers(score, chosen) for name, score in zip(prompts, scores, strict=True)}
            for index in together:
                rows = [found[_content(b"", [prompt])] for prompt in groups[index]]
                write_atomically(
                    paths[index], save({name: np.stack([row[name] for row in rows]) for name in rows[0]})
                )
        return [Answers(**load(path.read_bytes())) for path in paths]

    @cached_property
    def _model_hash(self) -> dict[str, str]:
        return model_fingerprint(self.settings.model) or {"revision": str(self.backbone.revision)}


def _mean(chunks: Iterable[Float[Tensor, "_ d"]]) -> Float[Tensor, "d"]:
    sums, counts = zip(*((chunk.sum(0), len(chunk)) for chunk in chunks), strict=True)
    mean: Float[Tensor, "d"] = torch.stack(sums).sum(0) / sum(counts)
    return mean


def _content(common: bytes, group: Sequence[Float[Tensor, "_ d"]]) -> str:
    shapes = json.dumps([list(prompt.shape) for prompt in group]).encode()
    return sha256(common + shapes + b"".join(prompt.numpy().tobytes() for prompt in group))[:16]


def _answers(scores: AnswerScores, examples: Sequence[Example]) -> dict[str, np.ndarray]:
    labels = torch.tensor([example.label for example in examples])
    rows = torch.arange(len(labels))
    return {
        "right": scores.written[rows, labels].numpy(),
        "likeliest": (scores.log_probability.argmax(1) == labels).numpy(),
        "loss": -scores.log_probability[rows, labels].float().numpy(),
    }
