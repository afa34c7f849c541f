"""The finished runs of a sweep with their model: prompts, embedding spaces, and answers on every task."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from rich.console import Console
from torch import Tensor

from softprompt.analysis.neighbours import nearest_tokens
from softprompt.analysis.variants import variant_names
from softprompt.answers import AnswerCache, Answers, Group
from softprompt.backbone import Backbone, load_backbone, model_fingerprint
from softprompt.console import say
from softprompt.data.examples import Example, check_lengths, tokenise
from softprompt.data.prepare import prepare
from softprompt.data.sources import moved, read_records
from softprompt.errors import UserError
from softprompt.methods import view_of
from softprompt.prompt import SoftPrompt
from softprompt.renamed import current_scores
from softprompt.runs import Run, find_runs, identity, task_identity
from softprompt.runs.find import unfinished_runs
from softprompt.runs.run import METRICS
from softprompt.settings import BOS, AnalysisSettings, DataSettings, Settings, TaskSettings, Truncate
from softprompt.tasks import Rendered

METHODS = ("prompt", "residual", "prefix", "autoprompt", "pez")  # in this order
INIT_ORDER = ("text", "vocab", "random", "file")  # then others, by name

# raw: as stored. model input: after the model's embedding LayerNorm, if it has one (`Backbone.model_input`).
# model input, centred: the same, less its mean over the vocabulary.
Space = Literal["raw", "model input", "model input, centred"]
# Norms, variances, distances and projections. Centring would not change a distance.
SPACES: tuple[Space, ...] = ("raw", "model input")
# Nearest tokens, because a cosine depends on the origin.
CENTRED_SPACES: tuple[Space, ...] = ("raw", "model input, centred")


@dataclass(frozen=True)
class Target:
    """A task's validation set, as the runs of a sweep used it."""

    task: TaskSettings
    truncate: Truncate | None
    rendered: list[Rendered]
    examples: list[Example]
    fingerprint: dict[str, str]


class Study:
    """The finished runs under a folder.

    Runs of method=prefix are a study of their own (`prefix_study`), because keys and values are in no space of tokens. If there
    are no others, they are this study's.

    Attributes:
        runs: ordered by method, initialiser, variant, seed.
        holds_prefixes: True if the runs are of method=prefix.
        results: their `result.json`, in the same order.
        labels: one line per run, in the same order: `run`, `task`, `variant` and `seed`.

    Raises:
        UserError: there is no run, one is not finished, the runs have several models, or a file or the model is damaged or
            cannot be read.
    """

    def __init__(
        self, folder: Path, console: Console, options: AnalysisSettings, of_prefixes: bool | None = None
    ) -> None:
        """Reads the runs' results.

        Args:
            folder: they are under it.
            console: where notes and progress are shown.
            options: what to do with unfinished runs, and where the data is now.
            of_prefixes: True for the runs of method=prefix alone; None for the others, if there are others.
        """
        self.folder = folder
        self.console = console
        self.options = options
        unfinished = unfinished_runs(folder)
        runs = find_runs(folder, skip_unfinished=options.unfinished == "skip")
        self.left_out = [path for path in unfinished if path not in {run.path for run in runs}]
        names = dict(
            zip(
                (run.path for run in runs),
                variant_names([identity(run.settings) for run in runs]),
                strict=True,
            )
        )
        prefixes = [run for run in runs if run.settings.method.name == "prefix"]
        others = [run for run in runs if run not in prefixes]
        self.holds_prefixes = not others or of_prefixes is True
        self._has_both = bool(prefixes and others)
        self.runs: list[Run] = sorted(
            prefixes if self.holds_prefixes else others,
            key=lambda run: (
                METHODS.index(run.settings.method.name),
                _init_order(run.settings.prompt.init),
                names[run.path],
                run.settings.seed,
            ),
        )
        self.results: list[dict[str, Any]] = [run.result() for run in self.runs]
        if older := [
            run for run, result in zip(self.runs, self.results, strict=True) if "files" not in result
        ]:
            say(
                console,
                f"{len(older)} runs were trained by a version that stored no checksums; whether their files have changed "
                f"since cannot be told ({older[0].path}, ...)",
            )
        if self.left_out and of_prefixes is None:
            say(console, f"left out, because they are not finished: {', '.join(map(str, self.left_out))}")
        models = {
            f"{run.settings.model.id} {result['backbone']['revision'] or ''} in {result['backbone']['dtype']}"
            f"{f' behind {token}' if (token := result['hashes'].get(BOS)) else ''}"
            for run, result in zip(self.runs, self.results, strict=True)
        }
        if len(models) > 1:
            raise UserError(
                f"sweep={folder}: its runs are of {len(models)} models ({', '.join(sorted(models))}), whose "
                "prompts cannot be compared; use one sweep per model"
            )
        self.settings: Settings = self.runs[0].settings
        self.labels = pd.DataFrame(
            {
                "run": [run.id for run in self.runs],
                "task": [run.settings.task.name for run in self.runs],
                "variant": [names[run.path] for run in self.runs],
                "seed": [run.settings.seed for run in self.runs],
            }
        )

    @cached_property
    def prefix_study(self) -> "Study | None":
        """The runs of method=prefix, if they are not this study's; None if there are none."""
        if self.holds_prefixes or not self._has_both:
            return None
        return Study(self.folder, self.console, self.options, of_prefixes=True)

    @property
    def free_text_tasks(self) -> list[str]:
        """The tasks whose answers are free text."""
        return list(dict.fromkeys(run.settings.task.name for run in self.runs if run.settings.task.answers))

    @cached_property
    def prompts(self) -> list[SoftPrompt]:
        """The best prompt of every run."""
        return [run.best_prompt() for run in self.runs]

    @cached_property
    def initial_matrices(self) -> list[Float[Tensor, "_ d"]]:
        """The matrix of every run's prompt before tuning."""
        return [run.initial_prompt().matrix for run in self.runs]

    @cached_property
    def learning_curves(self) -> pd.DataFrame:
        """The rows of all runs' metrics.csv, with `run`, `task` and `variant`."""
        return pd.concat(
            [
                pd.read_csv(run.path / METRICS)
                .rename(columns=lambda name: next(iter(current_scores({name: None}))))
                .assign(run=label["run"], task=label["task"], variant=label["variant"])
                for run, label in zip(self.runs, self.labels.to_dict("records"), strict=True)
            ],
            ignore_index=True,
        )

    @cached_property
    def backbone(self) -> Backbone:
        """The model that the prompts were trained for, in the dtype they were trained with."""
        dtype = getattr(torch, self.results[0]["backbone"]["dtype"])
        backbone = view_of(self.settings.method, load_backbone(self.runs[0].trained_model(), dtype))
        if torch.cuda.is_available():
            backbone.to(torch.device("cuda"))
        return backbone

    @cached_property
    def targets(self) -> dict[str, Target]:
        """The validation set of every task that a run was trained on, by task.

        Raises:
            UserError: data or model differ from what a run was trained with, runs of one task have different templates,
                or a text does not fit the model's context behind the longest of all prompts.
        """
        targets: dict[str, Target] = {}
        for run, result in zip(self.runs, self.results, strict=True):
            task, data = run.settings.task, run.settings.data
            if task.name not in targets:
                targets[task.name] = self._target(task, data)
            target = targets[task.name]
            same_task = replace(task, instruction=target.task.instruction) == target.task
            if not same_task or data.truncate != target.truncate:
                raise UserError(
                    f"{run.path}: its template, verbalizers or data.truncate differ from those of other runs of task "
                    f"{task.name!r}; use a separate sweep"
                )
            commit = {"model/commit": str(self.backbone.revision)}
            now = {**commit, **target.fingerprint, **model_fingerprint(run.trained_model())}
            if changed := run.changed_since(now) or next(
                (name for name in result["hashes"] if name not in now), None
            ):
                raise UserError(
                    f"{run.path}: {changed} has changed since this run was trained; restore it, or train the run "
                    "again in another sweep"
                )
        return targets

    def _target(self, task: TaskSettings, data: DataSettings) -> Target:
        if self.options.data_root is not None:
            data = moved(data, self.options.data_root)
        records = read_records(data, task)
        backbone = self.backbone
        prepared = prepare(
            task,
            records.splits["validation"],
            data.truncate,
            backbone.tokenizer,
            backbone.table_rows,
            backbone.context_length,
        )
        self._check_lengths(prepared.examples)
        return Target(task, data.truncate, prepared.rendered, prepared.examples, dict(records.fingerprint))

    def _check_lengths(self, examples: list[Example]) -> None:
        # Every prompt is tried on every task.
        longest = max(len(prompt.matrix) for prompt in self.prompts)
        check_lengths(examples, longest, self.backbone.context_length)

    def in_space(self, rows: Float[Tensor, "n d"], space: Space) -> Float[Tensor, "n d"]:
        """Raw rows, converted to a space."""
        if space == "raw":
            return rows
        model_input = self.backbone.model_input(rows)
        return model_input if space == "model input" else model_input - self._mean_model_input

    def vocabulary(self, space: Space) -> Iterator[Float[Tensor, "_ d"]]:
        """The embedding table in a space, in chunks."""
        for chunk in self.backbone.embedding_chunks():
            yield self.in_space(chunk, space)

    @cached_property
    def _mean_model_input(self) -> Float[Tensor, "d"]:
        return _mean_row(map(self.backbone.model_input, self.backbone.embedding_chunks()))

    @cached_property
    def mean_embedding(self) -> Float[Tensor, "d"]:
        """The mean of the embedding table's rows (raw)."""
        return _mean_row(self.backbone.embedding_chunks())

    @cached_property
    def nearest(self) -> list[list[int]]:
        """For every prompt, the nearest token of each of its rows (raw)."""
        rows = torch.cat([prompt.matrix for prompt in self.prompts])
        ids, _ = nearest_tokens(rows, self.vocabulary("raw"), 1)  # [rows of all prompts, 1]
        return [part[:, 0].tolist() for part in torch.split(ids, [len(p.matrix) for p in self.prompts])]

    def text_of(self, token: int) -> str:
        """A token as text; its name in the vocabulary if it decodes to nothing, or to part of a character."""
        return self.backbone.token_text(token)

    def is_word(self, token: int) -> bool:
        """True if a token is no special token and has a letter or a digit."""
        text = str(self.backbone.tokenizer.decode([token]))
        return token not in self._special_tokens and any(character.isalnum() for character in text)

    @cached_property
    def _special_tokens(self) -> set[int]:
        return set(self.backbone.tokenizer.all_special_ids)

    def answers(
        self,
        groups: Sequence[Group],
        target: str,
        examples: int | None = None,
        answers_of: str | None = None,
    ) -> list[Answers]:
        """What the prompts of each group answer on a task's validation set.

        Args:
            groups: prompts whose answers are stored together, in `<sweep>/analysis/cache`.
            target: the task.
            examples: how many validation examples, evenly spaced; None means all.
            answers_of: a task whose answers stand behind the texts, too. An answer's index is then among the target's
                answers followed by those that only the other task has.

        Raises:
            UserError: the other task's answers cannot be put behind the target's texts, or are too long there.
        """
        target_set = self.targets[target]
        indices = self.example_indices(target, examples)
        context: list[object] = [
            task_identity(target_set.task),
            target_set.fingerprint,
            self._model_hash,
            str(self.backbone.dtype),
        ]
        if target_set.truncate:
            context.append(asdict(target_set.truncate))
        of_target = target_set.examples
        others = set(self.targets[answers_of or target].task.verbalizers) - set(target_set.task.verbalizers)
        if answers_of is not None and others:
            context.append(list(self.targets[answers_of].task.verbalizers))
            of_target = self._with_answers_of(target, answers_of)
        return self._answer_cache.answers(groups, [of_target[i] for i in indices], context, target)

    def _with_answers_of(self, target: str, other: str) -> list[Example]:
        """A task's validation examples, with the answers of another task after their own."""
        target_set = self.targets[target]
        behind_same_texts = tokenise(
            self.targets[other].task, target_set.rendered, self.backbone.tokenizer, self.backbone.table_rows
        )
        examples = [
            example.with_answers(behind.answers)
            for example, behind in zip(target_set.examples, behind_same_texts, strict=True)
        ]
        self._check_lengths(examples)
        return examples

    def example_indices(self, target: str, examples: int | None) -> Int[np.ndarray, "E"]:
        """Which of a task's validation examples `answers` takes, in ascending order."""
        count = len(self.targets[target].examples)
        indices: Int[np.ndarray, "E"] = np.linspace(0, count - 1, min(examples or count, count)).astype(int)
        return indices

    @cached_property
    def _answer_cache(self) -> AnswerCache:
        return AnswerCache(self.folder / "analysis" / "cache", self.backbone, self.console)

    @cached_property
    def _model_hash(self) -> dict[str, str]:
        revision = self.backbone.revision
        return {
            **model_fingerprint(self.runs[0].trained_model()),
            **({"revision": revision} if revision else {}),
        }


def _init_order(init: str) -> tuple[int, str]:
    return (INIT_ORDER.index(init) if init in INIT_ORDER else len(INIT_ORDER), init)


def _mean_row(chunks: Iterable[Float[Tensor, "_ d"]]) -> Float[Tensor, "d"]:
    sums, counts = zip(*((chunk.sum(0), len(chunk)) for chunk in chunks), strict=True)
    mean: Float[Tensor, "d"] = torch.stack(sums).sum(0) / sum(counts)
    return mean
