"""Prompts tuned from another task's prompt, beside those tuned from the instruction (SPoT, Vu et al. 2022)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from softprompt.analysis.intervals import mean_interval
from softprompt.analysis.sign_flips import sign_flip_p

OTHERS = "other tasks"  # all sources but the target itself


@dataclass(frozen=True)
class Outcome:
    """Which of the E validation examples a run answers exactly, before and after tuning, and how soon it got there.

    `steps` is the first evaluated step at the task's level; infinite if the run did not reach it.
    """

    before: Bool[np.ndarray, "E"]
    after: Bool[np.ndarray, "E"]
    steps: float


@dataclass(frozen=True)
class Pair:
    """A run from a source's prompt, and the run of the same target and seed from the instruction."""

    target: str
    source: str
    seed: int
    from_source: Outcome
    from_instruction: Outcome


def prompt_transfer_table(pairs: list[Pair]) -> pd.DataFrame:
    """The two starts by target and source, and by target over all other tasks (source `OTHERS`).

    Returns:
        One line per target and source. `before` and `after` are exact match in percent from the source's prompt,
        `instruction_before` and `instruction_after` from the instruction; `difference_before` and `difference_after` are in
        points, with 95% intervals for new seeds and examples, in which runs are paired by seed, and answers by example. Over
        other tasks the values of a seed are means over these sources. Steps are medians over runs.
    """
    lines = []
    for target in dict.fromkeys(pair.target for pair in pairs):
        of_target = [pair for pair in pairs if pair.target == target]
        groups = {source: [p for p in of_target if p.source == source] for source in _sources(of_target)}
        if others := [pair for pair in of_target if pair.source != target]:
            groups[OTHERS] = others
        lines += [{"target": target, "source": source, **_line(group)} for source, group in groups.items()]
    return pd.DataFrame(lines)


def _sources(pairs: list[Pair]) -> list[str]:
    return list(dict.fromkeys(pair.source for pair in pairs))


def _line(pairs: list[Pair]) -> dict[str, float]:
    """One line over pairs of one target."""
    seeds = [pair.seed for pair in pairs]
    line: dict[str, float] = {"seeds": len(set(seeds)), "runs": len(pairs)}
    for name in ("before", "after"):
        ours = [getattr(pair.from_source, name) for pair in pairs]
        theirs = [getattr(pair.from_instruction, name) for pair in pairs]
        line |= score_difference(seeds, ours, theirs, name, "instruction")
    line["steps"] = float(np.median([pair.from_source.steps for pair in pairs]))
    by_seed = {pair.seed: pair.from_instruction.steps for pair in pairs}
    line["instruction_steps"] = float(np.median(list(by_seed.values())))
    return line


def score_difference(
    seeds: Sequence[int],
    ours: Sequence[Bool[np.ndarray, "E"]],
    theirs: Sequence[Bool[np.ndarray, "E"]],
    name: str,
    other: str,
) -> dict[str, float]:
    """Two starts' exact match in percent, and the paired difference in points with its 95% interval.

    Args:
        seeds: of each pair of runs.
        ours: the right answers of each pair's first run.
        theirs: those of its second run.
        name: of the score, `before` or `after`.
        other: the name of the second start.

    Returns:
        `<name>`, `<other>_<name>`, `difference_<name>`, `low_<name>`, `high_<name>`.
    """
    first, second = _by_seed(seeds, ours), _by_seed(seeds, theirs)
    low, high = mean_interval(first - second, least=-1.0, most=1.0)
    return {
        name: 100 * float(first.mean()),
        f"{other}_{name}": 100 * float(second.mean()),
        f"difference_{name}": 100 * float((first - second).mean()),
        f"low_{name}": 100 * low,
        f"high_{name}": 100 * high,
    }


def _by_seed(seeds: Sequence[int], answers: Sequence[Bool[np.ndarray, "E"]]) -> Float[np.ndarray, "_ E"]:
    """One row per seed: the mean over its pairs."""
    rows = [np.stack(answers)[np.array(seeds) == seed].mean(0) for seed in dict.fromkeys(seeds)]
    return np.stack(rows)


def paired_sooner_test(pairs: list[Pair], seed: int = 0) -> dict[str, float]:
    """Do runs from another task's prompt reach the level in fewer steps than the run from the instruction?

    A unit is a target with a seed: its value is the share of the sources whose run is sooner than the unit's run from
    the instruction, less the share of those that are later. A task's own prompt is left out.

    Args:
        pairs: of all targets, sources and seeds.
        seed: of the sampled flips.

    Returns:
        `sooner`, `later`: the numbers of pairs; the others are equally soon. `p`: two-sided, by flipping the signs of the
        units, in all ways up to 16 units. `units`: their number.
    """
    units: dict[tuple[str, int], list[int]] = {}
    for pair in pairs:
        if pair.source != pair.target:
            ours, theirs = pair.from_source.steps, pair.from_instruction.steps
            units.setdefault((pair.target, pair.seed), []).append((ours < theirs) - (ours > theirs))
    signs = [sign for unit in units.values() for sign in unit]
    counts = {"sooner": signs.count(1), "later": signs.count(-1), "units": len(units)}
    if not units:
        return {**counts, "p": np.nan}
    return {**counts, "p": sign_flip_p(np.array([np.mean(unit) for unit in units.values()]), seed)}


def grid(table: pd.DataFrame, value: str) -> Float[np.ndarray, "m m"] | None:
    """A column by source (row) and target, in the order of the targets; None unless every task is both.

    A task's own prompt need not be among the sources: its value is NaN then.
    """
    pairs = table[table["source"] != OTHERS]
    targets = list(dict.fromkeys(pairs["target"]))
    square = pairs.pivot(index="source", columns="target", values=value).reindex(
        index=targets, columns=targets
    )
    values: Float[np.ndarray, "m m"] = square.to_numpy(float)
    complete = (
        set(pairs["source"]) <= set(targets) and np.isfinite(values[~np.eye(len(targets), dtype=bool)]).all()
    )
    return values if complete else None
