"""How hard the tasks are without tuning, and whether this correlates with the variance of their prompts."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pandas as pd

from softprompt.analysis.difficulty import difficulty_correlation, difficulty_table
from softprompt.report.registry import Section, section
from softprompt.settings import AnalysisSettings
from softprompt.study import SPACES, Space, Study


@section(place=80)
def difficulty(study: Study, settings: AnalysisSettings) -> Section:
    """Zero-shot scores over several wordings of each task's instruction, beside the variance of its prompts."""
    zero_shot: dict[str, dict[str, float]] = {}
    for task, target in study.targets.items():
        wordings = list(dict.fromkeys([target.task.instruction, *settings.wordings.get(task, [])]))
        answers = study.answers([[study.backbone.embed_text(wording)] for wording in wordings], task)
        zero_shot[task] = {
            wording: 100 * of_wording.exact_match.mean()
            for wording, of_wording in zip(wordings, answers, strict=True)
        }
    first = study.labels["variant"].iloc[0]
    table = difficulty_table(
        zero_shot, _variances(study, first), [asdict(line) for line in settings.published]
    )
    correlation = difficulty_correlation(table)
    wordings_table = pd.DataFrame(
        [
            {"task": task, "instruction": wording, "exact_match": score}
            for task, scores in zero_shot.items()
            for wording, score in scores.items()
        ]
    )
    return Section(
        title="Zero-shot difficulty and variance",
        how=(
            "Exact match (%) of the untuned model with each wording of a task's instruction as text (`wordings` in "
            "conf/analyze.yaml): median and maximum over wordings, and their difference (delta), the reference study's "
            f"measure of difficulty. The variance is that of the entries of the prompts initialised from {first}. "
            "Published figures of bloomz-560m are listed for comparison. p is by permutation of the tasks; with four "
            "tasks it cannot fall below 2/24."
        ),
        findings=list(_findings(correlation)),
        digest=_digest(table),
        tables={
            "difficulty": table,
            "difficulty_correlation": correlation,
            "wordings": wordings_table,
        },
        names_spaces=True,
    )


def _column(space: Space) -> str:
    return f"variance_{space.replace(' ', '_')}"


def _variances(study: Study, variant: str) -> pd.DataFrame:
    """By task, the mean variance of the entries of its prompts, a column per space."""
    group = study.labels[study.labels["variant"] == variant]
    variances = {
        _column(space): [
            float(study.in_space(study.prompts[index].matrix, space).var(correction=0))
            for index in group.index
        ]
        for space in SPACES
    }
    return group.assign(**variances).groupby("task", sort=False)[list(variances)].mean()


def _findings(correlation: pd.DataFrame) -> Iterator[str]:
    known = correlation[np.isfinite(correlation["spearman"])]
    if known.empty:
        yield "No correlation of difficulty and variance: there are too few tasks, or their difficulty does not differ."
    for space in SPACES:
        group = known[known["variance"] == _column(space)]
        parts = [
            f"{row['measure']} {row['spearman']:+.2f} (p={row['p']:.2f})" for row in group.to_dict("records")
        ]
        if parts:
            yield (
                f"Rank correlation over {group['tasks'].iloc[0]} tasks of the variance of the prompts ({space}) with the "
                f"zero-shot {', '.join(parts)}."
            )


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    variance = _column("raw")
    return pd.DataFrame(
        [
            {
                "task": row["task"],
                "source": row["source"],
                "median": f"{row['median']:.1f}",
                "maximum": f"{row['maximum']:.1f}",
                "delta": f"{row['delta']:.1f}",
                "variance (raw)": f"{row[variance]:.4g}" if row[variance] == row[variance] else "–",
            }
            for row in table.to_dict("records")
        ]
    )
