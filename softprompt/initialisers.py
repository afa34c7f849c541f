"""What a prompt may start from. Each function decorated with `initialiser` is a value of `prompt.init`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.prompt_mean import mean_prompt, similarity_weights
from softprompt.backbone import Backbone
from softprompt.data.examples import tokenise
from softprompt.errors import UserError
from softprompt.files import sha256
from softprompt.prompt import FILE, SoftPrompt, prompt_file
from softprompt.runs import Run
from softprompt.runs.source import folders_of_mean, source_folder
from softprompt.settings import PromptSettings, TaskSettings
from softprompt.stored_prompt import read_stored
from softprompt.tasks import Rendered

MOST_COMMON = 5000  # tokens (Lester et al. 2021, section 3.2)


@dataclass(frozen=True)
class Request:
    """What an initialiser is given."""

    settings: PromptSettings
    backbone: Backbone
    task: TaskSettings
    seed: int
    method: str

    @cached_property
    def generator(self) -> torch.Generator:
        """Seeded by task and seed."""
        return seeded(self.task.name, self.seed)

    @property
    def instruction(self) -> str:
        """`prompt.text`, by default the task's."""
        return self.settings.text or self.task.instruction

    @property
    def length(self) -> int:
        """n: `prompt.length`, by default as many rows as the instruction has tokens."""
        return self.settings.length or len(self.backbone.tokens_of(self.instruction))


@dataclass(frozen=True)
class Start:
    """What an initialiser returns: the matrix, and the tokens whose embeddings its rows are, if they are tokens'.

    With `is_prefix` its rows are keys and values.
    """

    matrix: Float[Tensor, "n _"]
    tokens: list[int] = field(default_factory=list)
    text: str | None = None
    is_prefix: bool = False


INITIALISERS: dict[str, Callable[[Request], Start]] = {}


def initialiser(function: Callable[[Request], Start]) -> Callable[[Request], Start]:
    """Makes the function available as `prompt.init=<its name>`."""
    INITIALISERS[function.__name__] = function
    return function


@initialiser
def text(request: Request) -> Start:
    """The embeddings of the instruction's tokens (Lester et al. 2021, section 2.1)."""
    tokens = request.backbone.tokens_of(request.instruction)
    if not tokens:
        raise UserError(f"prompt.text={request.instruction!r}: the tokenizer makes no token of it")
    tokens = _repeat(tokens, request.length)
    return Start(request.backbone.embed(tokens), tokens, request.instruction)


@initialiser
def vocab(request: Request) -> Start:
    """The embeddings of different ordinary tokens, drawn uniformly (Lester et al. 2021, section 2.1)."""
    tokens = _drawn(request, request.length, None)
    return Start(request.backbone.embed(tokens), tokens)


@initialiser
def common(request: Request) -> Start:
    """The embeddings of different tokens, drawn uniformly from the 5,000 most common (Lester et al. 2021, section 3.2).

    A tokenizer does not say how often its tokens occur. The ordinary tokens with the lowest ids are taken: vocabularies of
    BPE are in the order of merges, those of SentencePiece and WordPiece mostly by frequency.
    """
    tokens = _drawn(request, request.length, MOST_COMMON)
    return Start(request.backbone.embed(tokens), tokens)


@initialiser
def labels(request: Request) -> Start:
    """The embeddings of the task's answers, each the mean over its tokens; further rows as `common` draws them.

    Class labels of Lester et al. (2021, section 3.2). A prompt with fewer rows has the first answers.
    """
    task, backbone = request.task, request.backbone
    if task.answers:
        raise UserError(
            f"prompt=labels: the answers of task {task.name!r} are free text; use another prompt=..."
        )
    # With the tokens that the answers have behind a text, without end-of-sequence.
    (behind,) = tokenise(
        task, [Rendered(":", None, "prompt=labels")], backbone.tokenizer, backbone.table_rows
    )
    answers = [list(answer[:-1]) for answer in behind.answers][: request.length]
    further = _drawn(request, request.length - len(answers), MOST_COMMON)
    means = [backbone.embed(tokens).mean(0, keepdim=True) for tokens in answers]
    are_tokens = all(len(tokens) == 1 for tokens in answers)
    return Start(
        torch.cat([*means, backbone.embed(further)]),
        [*(tokens[0] for tokens in answers), *further] if are_tokens else [],
    )


@initialiser
def random(request: Request) -> Start:
    """Normal noise with the standard deviation of the embedding table."""
    shape = (request.length, request.backbone.width)
    return Start(torch.randn(shape, generator=request.generator) * request.backbone.embedding_scale)


@initialiser
def uniform(request: Request) -> Start:
    """Uniform noise between -`prompt.bound` and `prompt.bound`, by default as spread out as the embedding table."""
    bound = request.settings.bound or 3**0.5 * request.backbone.embedding_scale
    shape = (request.length, request.backbone.width)
    return Start((2 * torch.rand(shape, generator=request.generator) - 1) * bound)


@initialiser
def file(request: Request) -> Start:
    """The prompt or prefix of a run's folder, of a file, or of a PEFT adapter, of the same backbone."""
    if request.settings.path is None:
        raise UserError("prompt=file needs prompt.path: another run's folder, or a PEFT adapter's")
    return _start_from(prompt_file(Path(request.settings.path)), request)


@initialiser
def run(request: Request) -> Start:
    """The best prompt of another finished run, mostly of another task (SPoT, Vu et al. 2022)."""
    if request.settings.run is None:
        raise UserError(
            "prompt=run needs prompt.run: another run's folder, or a pattern such as outputs/demo/rte/text-seed{seed}-*"
        )
    source = Run.at(source_folder(request.settings.run, request.seed))
    return _start_from(source.path / FILE, request)


@initialiser
def mean(request: Request) -> Start:
    """The mean of other runs' best prompts, weighted by similarity to a run of this task (Vu et al. 2022, section 3).

    It has `prompt.length` rows, by default as many as the prompt of `prompt.like`. Other prompts repeat their rows, or are cut.
    """
    folders = folders_of_mean(request.settings, request.task.name, request.seed)
    paths = [Run.at(folder).path / FILE for folder in (folders.like, *folders.averaged)]
    stored = [read_stored(path, request.backbone, request.method) for path in paths]
    if len({one.is_prefix for one in stored}) > 1:
        raise UserError(
            "prompt.runs: some runs hold prefixes (method=prefix) and others prompts; name runs of one method"
        )
    like, *averaged = (one.matrix for one in stored)
    weights = similarity_weights(averaged, like)
    if not any(weights):
        raise UserError(
            f"prompt.runs: no source's prompt is similar to that of {folders.like} (all cosines are 0 or less), so that no weight "
            "is above 0; name other runs, or use prompt=run"
        )
    rows = mean_prompt(averaged, weights, request.settings.length or len(like))
    return Start(rows, is_prefix=stored[0].is_prefix)


def _start_from(path: Path, request: Request) -> Start:
    stored = read_stored(path, request.backbone, request.method)
    if stored.is_prefix and request.settings.length is not None:
        raise UserError(
            f"prompt.length={request.settings.length}: {path} holds a prefix, which is taken as it is; leave prompt.length out"
        )
    rows = len(stored.matrix)
    repeated = _repeat(list(range(rows)), request.settings.length or rows)
    return Start(stored.matrix[repeated], is_prefix=stored.is_prefix)


def initial_prompt(
    settings: PromptSettings, backbone: Backbone, task: TaskSettings, seed: int, method: str
) -> SoftPrompt:
    """The prompt that a run of a method starts from. Its rows are keys and values only where the method is "prefix".

    n is `settings.length`; by default as many rows as the instruction has tokens (or as the other prompt has rows). A
    longer n repeats the tokens or rows from the beginning, a shorter one cuts them.

    Raises:
        UserError: there is no such initialiser, or it cannot make a prompt from these settings.
    """
    if settings.init not in INITIALISERS:
        raise UserError(f"prompt.init={settings.init!r}: should be one of {', '.join(INITIALISERS)}")
    request = Request(settings, backbone, task, seed, method)
    start = INITIALISERS[settings.init](request)
    return SoftPrompt(
        matrix=start.matrix,
        backbone=backbone.id,
        revision=backbone.revision,
        backbone_hash=backbone.embedding_hash,
        bos=None if start.is_prefix else backbone.bos_id,
        task=task.name,
        init=settings.init,
        initial_text=start.text,
        initial_tokens=start.tokens,
        method="prefix" if start.is_prefix else "prompt",
    )


def seeded(task: str, seed: int) -> torch.Generator:
    """The generator of a run. By task, too: otherwise prompts of one seed start from the same rows in every task."""
    return torch.Generator().manual_seed(int(sha256(f"{task} {seed}".encode())[:15], 16))


def _drawn(request: Request, count: int, among: int | None) -> list[int]:
    """Different ordinary tokens, drawn uniformly among the lowest ids (None: among all)."""
    ordinary = [i for i in _ordinary_tokens(request.backbone.tokenizer) if i < request.backbone.table_rows][
        :among
    ]
    if count > len(ordinary):
        raise UserError(
            f"prompt.length={request.length}: the vocabulary has only {len(ordinary)} tokens to draw from"
        )
    return [ordinary[i] for i in torch.randperm(len(ordinary), generator=request.generator)[:count].tolist()]


def _repeat(items: list[int], length: int) -> list[int]:
    return [items[i % len(items)] for i in range(length)]


def _ordinary_tokens(tokenizer: Any) -> list[int]:
    """All token ids but special ones. An embedding table may have more rows than there are tokens."""
    added = tokenizer.added_tokens_decoder
    special = {*tokenizer.all_special_ids, *(token for token in added if added[token].special)}
    return [token for token in range(len(tokenizer)) if token not in special]
