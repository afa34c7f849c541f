"""The runs of a sweep that start from other runs' prompts, with these and the one from the instruction beside them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from softprompt.analysis.prompt_mean import Matrix, similarity_weights
from softprompt.analysis.prompt_transfer import Outcome, Pair
from softprompt.analysis.scores import steps_to_reach
from softprompt.errors import UserError
from softprompt.initialisers import initial_prompt
from softprompt.methods import make_method
from softprompt.prompt import SoftPrompt
from softprompt.renamed import current_scores
from softprompt.runs import Run
from softprompt.runs.run import METRICS, RESULT
from softprompt.runs.source import folders_of_mean, source_folder
from softprompt.study import Study

LEVEL = 0.95  # of the best exact match of any run of the task
CLOSE = 1e-3  # of a start's norm: more than the error of float32, less than any training
INSTRUCTION = "the instruction"
MEAN = "the weighted mean"
Sweeps = dict[str, list[Run]]  # the finished runs of a sweep's folder of a task, by its path


@dataclass(frozen=True)
class RunFromPrompt:
    """A run that started from another run's prompt, with the two runs of the source's sweep that it is compared with."""

    run: Run
    source: Run
    from_instruction: Run


@dataclass(frozen=True)
class RunFromMean:
    """A run that started from a mean, with the averaged runs, their weights, and the run from the instruction."""

    run: Run
    sources: list[Run]
    weights: list[float]
    from_instruction: Run


def compared_runs(study: Study) -> tuple[list[RunFromPrompt], list[RunFromMean], list[str]]:
    """The runs that started from another run or from a mean, and for those that cannot be compared the reason, in one line."""
    from_prompts: list[RunFromPrompt] = []
    from_means: list[RunFromMean] = []
    reasons: dict[str, None] = {}
    sweeps: Sweeps = {}
    for run in study.runs:
        try:
            if run.settings.prompt.run is not None:
                from_prompts.append(_from_prompt(study, run, run.settings.prompt.run, sweeps))
            elif run.settings.prompt.runs is not None:
                from_means.append(_from_mean(study, run, sweeps))
        except UserError as error:
            reasons[str(error)] = None
    return from_prompts, from_means, list(reasons)


def _from_prompt(study: Study, run: Run, pattern: str, sweeps: Sweeps) -> RunFromPrompt:
    source = Run.at(source_folder(pattern, run.settings.seed))
    _check_sources(study, run)
    return RunFromPrompt(run, source, _counterpart(run, source, sweeps))


def _from_mean(study: Study, run: Run, sweeps: Sweeps) -> RunFromMean:
    settings = run.settings
    folders = folders_of_mean(settings.prompt, settings.task.name, settings.seed)
    _check_sources(study, run)
    sources = [Run.at(folder) for folder in folders.averaged]
    like = Run.at(folders.like).best_prompt().matrix
    weights = similarity_weights([source.best_prompt().matrix for source in sources], like)
    return RunFromMean(run, sources, weights, _counterpart(run, sources[0], sweeps))


def _check_sources(study: Study, run: Run) -> None:
    """Raises a `UserError` if the runs that are named now are not those that the run started from."""
    settings, initial = run.settings, run.initial_prompt().matrix
    now = initial_prompt(settings.prompt, study.backbone, settings.task, settings.seed, settings.method.name)
    start = start_of(study, run, now)
    if start.shape != initial.shape or float((start - initial).norm()) > CLOSE * float(initial.norm()):
        raise UserError(f"{run.path}: its sources have changed since it was trained")


def start_of(study: Study, run: Run, prompt: SoftPrompt) -> Matrix:
    """What a run of this run's method starts from, if it is given a prompt: for prefix tuning, keys and values."""
    method = make_method(run.settings.method, study.backbone, run.settings.task)
    return method.start(prompt).matrix.cpu()


def _counterpart(run: Run, source: Run, sweeps: Sweeps) -> Run:
    """The run of the source's sweep that is like the run, but started from the instruction. Raises a `UserError`."""
    folder = source.path.parent.parent / run.settings.task.name
    if str(folder) not in sweeps:
        sweeps[str(folder)] = [Run.at(path.parent) for path in sorted(folder.glob(f"*/{RESULT}"))]
    beside = [other for other in sweeps[str(folder)] if _is_counterpart(other, run)]
    if len(beside) != 1:
        raise UserError(
            f"{folder} has not one run from the instruction with seed {run.settings.seed}, "
            f"method={run.settings.method.name} and the same optimiser on the same data"
        )
    return beside[0]


def _is_counterpart(other: Run, run: Run) -> bool:
    """True if a run started from the instruction, and has the other one's seed, method, optimiser and data."""
    theirs, ours = other.settings, run.settings
    return (
        (theirs.prompt.init, theirs.prompt.text) == ("text", None)
        and (theirs.seed, theirs.method, theirs.optim) == (ours.seed, ours.method, ours.optim)
        and other.changed_since(run.result()["hashes"]) is None
    )


def curves_of(from_prompts: list[RunFromPrompt], from_means: list[RunFromMean]) -> pd.DataFrame:
    """Learning curves: those of the sweep by source task or mean, and each run from the instruction once."""
    both: list[RunFromPrompt | RunFromMean] = [*from_prompts, *from_means]
    lines = {str(one.from_instruction.path): _curve(one.from_instruction, INSTRUCTION) for one in both}
    lines |= {
        str(one.run.path): _curve(one.run, f"{one.source.settings.task.name}'s prompt")
        for one in from_prompts
    }
    lines |= {str(one.run.path): _curve(one.run, MEAN) for one in from_means}
    return pd.concat(lines.values(), ignore_index=True)


def _curve(run: Run, start: str) -> pd.DataFrame:
    curve = pd.read_csv(run.path / METRICS).rename(
        columns=lambda name: next(iter(current_scores({name: None})))
    )
    baselines = run.result()["baselines"]
    return curve.assign(
        run=str(run.path),
        task=run.settings.task.name,
        variant=start,
        no_prompt=baselines["no_prompt"]["exact_match"],
        instruction=baselines["instruction"]["exact_match"],
    )


def outcomes_of(
    study: Study, from_prompts: list[RunFromPrompt], from_means: list[RunFromMean], curves: pd.DataFrame
) -> dict[str, Outcome]:
    """What each run came to, by its path."""
    steps = {
        str(run): steps_to_reach(curve, LEVEL * of_task["exact_match"].max())
        for _, of_task in curves.groupby("task", sort=False)
        for run, curve in of_task.groupby("run", sort=False)
    }
    outcomes: dict[str, Outcome] = {}
    both: list[RunFromPrompt | RunFromMean] = [*from_prompts, *from_means]
    for one in both:
        for run in (one.run, one.from_instruction):
            if str(run.path) not in outcomes:
                before, after = study.answers(
                    [[run.initial_prompt().matrix], [run.best_prompt().matrix]], run.settings.task.name
                )
                outcomes[str(run.path)] = Outcome(
                    np.asarray(before.exact_match[0]), np.asarray(after.exact_match[0]), steps[str(run.path)]
                )
    return outcomes


def pairs_of(from_prompts: list[RunFromPrompt], outcomes: dict[str, Outcome]) -> list[Pair]:
    """What both starts of each pair of runs came to."""
    return [
        Pair(
            one.run.settings.task.name,
            one.source.settings.task.name,
            one.run.settings.seed,
            outcomes[str(one.run.path)],
            outcomes[str(one.from_instruction.path)],
        )
        for one in from_prompts
    ]
