"""The runs of a sweep that start from another run's prompt, with that run and the one from the instruction beside it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from softprompt.analysis.prompt_transfer import Outcome, Pair
from softprompt.analysis.scores import steps_to_reach
from softprompt.errors import UserError
from softprompt.renamed import current_scores
from softprompt.runs import Run
from softprompt.runs.run import METRICS, RESULT
from softprompt.runs.source import source_folder
from softprompt.study import Study

LEVEL = 0.95  # of the best exact match of any run of the task
INSTRUCTION = "the instruction"


@dataclass(frozen=True)
class Started:
    """A run of the sweep (by its index in the study) with the two runs of the source's sweep that it is compared with."""

    index: int
    run: Run
    source: Run
    from_instruction: Run


def started_from_runs(study: Study) -> tuple[list[Started], list[str]]:
    """The runs that started from another run, and for those that cannot be compared the reason, in one line."""
    found: list[Started] = []
    reasons: dict[str, None] = {}
    sweeps: dict[str, list[Run]] = {}
    for index, run in enumerate(study.runs):
        pattern = run.settings.prompt.run
        if pattern is None:
            continue
        try:
            source = Run.at(source_folder(pattern, run.settings.seed))
            folder = source.path.parent.parent / run.settings.task.name
            if str(folder) not in sweeps:
                sweeps[str(folder)] = [Run.at(path.parent) for path in sorted(folder.glob(f"*/{RESULT}"))]
        except UserError as error:
            reasons[str(error)] = None
            continue
        beside = [other for other in sweeps[str(folder)] if _is_counterpart(other, run, source)]
        if len(beside) == 1:
            found.append(Started(index, run, source, beside[0]))
        else:
            reasons[
                f"{folder} has not one run from the instruction with seed {run.settings.seed} on the same data"
            ] = None
    return found, list(reasons)


def _is_counterpart(other: Run, run: Run, source: Run) -> bool:
    """True if a run of the source's sweep started from the instruction and is otherwise like the source and the run."""
    ours, theirs = other.settings, source.settings
    return (
        ours.seed == run.settings.seed
        and (ours.prompt.init, ours.prompt.text) == ("text", None)
        and (ours.optim, ours.method) == (theirs.optim, theirs.method)
        and other.changed_since(run.result()["hashes"]) is None
    )


def curves_of(started: list[Started]) -> pd.DataFrame:
    """Learning curves: those of the sweep by source task, and each run from the instruction once."""
    lines = {str(one.from_instruction.path): _curve(one.from_instruction, INSTRUCTION) for one in started} | {
        str(one.run.path): _curve(one.run, f"{one.source.settings.task.name}'s prompt") for one in started
    }
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


def pairs_of(study: Study, started: list[Started], curves: pd.DataFrame) -> list[Pair]:
    """What both starts of each pair of runs came to."""
    steps = {
        str(run): steps_to_reach(curve, LEVEL * of_task["exact_match"].max())
        for _, of_task in curves.groupby("task", sort=False)
        for run, curve in of_task.groupby("run", sort=False)
    }

    outcomes: dict[str, Outcome] = {}
    for one in started:
        for run in (one.run, one.from_instruction):
            if str(run.path) not in outcomes:
                before, after = study.answers(
                    [[run.initial_prompt().matrix], [run.best_prompt().matrix]], run.settings.task.name
                )
                outcomes[str(run.path)] = Outcome(
                    np.asarray(before.exact_match[0]), np.asarray(after.exact_match[0]), steps[str(run.path)]
                )
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
