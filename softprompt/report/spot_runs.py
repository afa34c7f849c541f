"""The runs of a sweep that start from other runs' prompts, with these and the one from the instruction beside them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from softprompt.analysis.prompt_transfer import Outcome, Pair
from softprompt.analysis.scores import steps_to_reach
from softprompt.errors import UserError
from softprompt.renamed import current_scores
from softprompt.runs import Run
from softprompt.runs.run import METRICS, RESULT
from softprompt.runs.source import folders_of_mean, source_folder
from softprompt.study import Study

LEVEL = 0.95  # of the best exact match of any run of the task
INSTRUCTION = "the instruction"
MEAN = "the weighted mean"
Sweeps = dict[str, list[Run]]  # the finished runs of a sweep's folder of a task, by its path


@dataclass(frozen=True)
class Started:
    """A run of the sweep (by its index in the study) with the two runs of the source's sweep that it is compared with."""

    index: int
    run: Run
    source: Run
    from_instruction: Run


@dataclass(frozen=True)
class FromMean:
    """A run that started from a mean, with the runs that this was made from, and the run from the instruction."""

    run: Run
    sources: list[Run]
    like: Run
    from_instruction: Run


def started_from_runs(study: Study) -> tuple[list[Started], list[str]]:
    """The runs that started from another run, and for those that cannot be compared the reason, in one line."""
    found: list[Started] = []
    reasons: dict[str, None] = {}
    sweeps: Sweeps = {}
    for index, run in enumerate(study.runs):
        pattern = run.settings.prompt.run
        if pattern is None:
            continue
        try:
            source = Run.at(source_folder(pattern, run.settings.seed))
            found.append(Started(index, run, source, _counterpart(run, source, sweeps)))
        except UserError as error:
            reasons[str(error)] = None
    return found, list(reasons)


def started_from_means(study: Study) -> tuple[list[FromMean], list[str]]:
    """The runs that started from a mean, and for those that cannot be compared the reason, in one line."""
    found: list[FromMean] = []
    reasons: dict[str, None] = {}
    sweeps: Sweeps = {}
    for run in study.runs:
        settings = run.settings
        if settings.prompt.runs is None:
            continue
        try:
            folders = folders_of_mean(settings.prompt, settings.task.name, settings.seed)
            sources = [Run.at(folder) for folder in folders.averaged]
            beside = _counterpart(run, sources[0], sweeps)
            found.append(FromMean(run, sources, Run.at(folders.like), beside))
        except UserError as error:
            reasons[str(error)] = None
    return found, list(reasons)


def _counterpart(run: Run, source: Run, sweeps: Sweeps) -> Run:
    """The run of the source's sweep that is like the run, but started from the instruction. Raises a `UserError`."""
    folder = source.path.parent.parent / run.settings.task.name
    if str(folder) not in sweeps:
        sweeps[str(folder)] = [Run.at(path.parent) for path in sorted(folder.glob(f"*/{RESULT}"))]
    beside = [other for other in sweeps[str(folder)] if _is_counterpart(other, run, source)]
    if len(beside) != 1:
        raise UserError(
            f"{folder} has not one run from the instruction with seed {run.settings.seed} on the same data"
        )
    return beside[0]


def _is_counterpart(other: Run, run: Run, source: Run) -> bool:
    """True if a run of the source's sweep started from the instruction and is otherwise like the source and the run."""
    ours, theirs = other.settings, source.settings
    return (
        ours.seed == run.settings.seed
        and (ours.prompt.init, ours.prompt.text) == ("text", None)
        and (ours.optim, ours.method) == (theirs.optim, theirs.method)
        and other.changed_since(run.result()["hashes"]) is None
    )


def curves_of(started: list[Started], means: list[FromMean]) -> pd.DataFrame:
    """Learning curves: those of the sweep by source task or mean, and each run from the instruction once."""
    both: list[Started | FromMean] = [*started, *means]
    lines = {str(one.from_instruction.path): _curve(one.from_instruction, INSTRUCTION) for one in both}
    lines |= {
        str(one.run.path): _curve(one.run, f"{one.source.settings.task.name}'s prompt") for one in started
    }
    lines |= {str(one.run.path): _curve(one.run, MEAN) for one in means}
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
    study: Study, started: list[Started], means: list[FromMean], curves: pd.DataFrame
) -> dict[str, Outcome]:
    """What each run came to, by its path."""
    steps = {
        str(run): steps_to_reach(curve, LEVEL * of_task["exact_match"].max())
        for _, of_task in curves.groupby("task", sort=False)
        for run, curve in of_task.groupby("run", sort=False)
    }
    outcomes: dict[str, Outcome] = {}
    both: list[Started | FromMean] = [*started, *means]
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


def pairs_of(started: list[Started], outcomes: dict[str, Outcome]) -> list[Pair]:
    """What both starts of each pair of runs came to."""
    return [
        Pair(
            one.run.settings.task.name,
            one.source.settings.task.name,
            one.run.settings.seed,
            outcomes[str(one.run.path)],
            outcomes[str(one.from_instruction.path)],
        )
        for one in started
    ]
