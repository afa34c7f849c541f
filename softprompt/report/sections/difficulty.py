"""How hard the tasks are without tuning, and whether prompts of hard tasks are spread wider."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pandas as pd

from softprompt.analysis.difficulty import difficulty_correlation, difficulty_table
from softprompt.report.sections import Section
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


def difficulty(study: Study, settings: AnalysisSettings) -> Section:
    """Zero-shot scores over several wordings of each task's instruction, beside the variance of its prompts."""
    zero_shot: dict[str, dict[str, float]] = {}
    for task, target in study.targets.items():
        wordings = list(dict.fromkeys([target.task.instruction, *settings.wordings.get(task, [])]))
        prompts = [
            study.backbone.embed(study.backbone.tokenizer(text, add_special_tokens=False)["input_ids"])
            for text in wordings
        ]
        answers = study.answers([[prompt] for prompt in prompts], task)
        zero_shot[task] = {
            text: 100 * found.exact_match.mean() for text, found in zip(wordings, answers, strict=True)
        }
    first = study.labels["variant"].iloc[0]
    table = difficulty_table(
        zero_shot, _variances(study, first), [asdict(line) for line in settings.published]
    )
    correlation = difficulty_correlation(table)
    by_wording = pd.DataFrame(
        [
            {"task": task, "instruction": text, "exact_match": score}
            for task, scores in zero_shot.items()
            for text, score in scores.items()
        ]
    )
    return Section(
        "Difficulty and variance",
        "Exact match (%) of the untuned model behind each wording of a task's instruction (`wordings` in "
        "conf/analyze.yaml), its median and maximum over wordings, and their difference, the reference study's measure of "
        f"difficulty. The variance is that of the entries of the prompts that started from {first}. Published "
        "figures, of bloomz-560m, are beside them. p is by permutation of the tasks; with four it cannot fall below 2/24.",
        list(_findings(correlation)),
        _digest(table),
        {},
        {"difficulty": table, "difficulty_correlation": correlation, "wordings": by_wording},
    )


def _variances(study: Study, variant: str) -> pd.DataFrame:
    """Mean variance of the entries of each task's prompts, as stored and as read."""
    own = study.labels[study.labels["variant"] == variant]
    prompts = [study.prompts[index].matrix for index in own.index]
    spaces = {
        "variance": prompts,
        "variance_model_input": [study.backbone.model_input(prompt) for prompt in prompts],
    }
    columns = {
        name: [float(prompt.var(correction=0)) for prompt in matrices] for name, matrices in spaces.items()
    }
    return own.assign(**columns).groupby("task", sort=False)[list(spaces)].mean()


def _findings(correlation: pd.DataFrame) -> Iterator[str]:
    known = correlation[np.isfinite(correlation["spearman"])]
    if known.empty:
        yield "Too few tasks, or too little difference between them, to set variance against difficulty."
    for spread, own in known.groupby("spread", sort=False):
        parts = [
            f"{row['measure']} {row['spearman']:+.2f} (p={row['p']:.2f})" for row in own.to_dict("records")
        ]
        yield (
            f"Rank correlation over {own['tasks'].iloc[0]} tasks of the prompts' {spread.replace('_', ' ')} with the "
            f"zero-shot {', '.join(parts)}."
        )


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "task": row["task"],
                "source": row["source"],
                "median": f"{row['median']:.1f}",
                "maximum": f"{row['maximum']:.1f}",
                "delta": f"{row['delta']:.1f}",
                "variance": f"{row['variance']:.4g}" if row["variance"] == row["variance"] else "–",
            }
            for row in table.to_dict("records")
        ]
    )
