"""The scores of every prompt on every task, and what they are compared with."""

from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.copies import prompt_key
from softprompt.analysis.label_map import correct_by_majority, correct_up_to_label_map
from softprompt.analysis.transfer import corrected_over_pairs, transfer_table
from softprompt.backbone import local_folder
from softprompt.errors import UserError
from softprompt.files import read_json
from softprompt.scoring import labels_of
from softprompt.study import Study

EXACT_MATCH, RANK_ACCURACY, LABEL_MAP = "exact match", "rank accuracy", "accuracy up to a label map"
SCORES = (EXACT_MATCH, RANK_ACCURACY, LABEL_MAP)
BASELINE = {EXACT_MATCH: "no prompt", RANK_ACCURACY: "no prompt", LABEL_MAP: "a constant label"}

ByTarget = dict[str, Bool[np.ndarray, "*R E"]]


@cache  # several sections use it
def transfer_grid(study: Study) -> pd.DataFrame:
    """`transfer_table` for every score and variant, its gains in percentage points; p is corrected within a score.

    The baseline is no prompt; for the accuracy up to a label map it is a constant label, cross-fitted as the map is.
    """
    ceilings = _ceilings(study)
    grids = []
    for variant, group in study.labels.groupby("variant", sort=False):
        tasks = list(group["task"])
        matrices = [study.prompts[index].matrix for index in group.index]
        keys = [prompt_key(matrix) for matrix in matrices]
        correct: dict[str, ByTarget] = {score: {} for score in SCORES}
        baseline: dict[str, ByTarget] = {score: {} for score in SCORES}
        for target in study.targets:
            no_prompt = matrices[0][:0]
            without, *of_prompts = study.answers(
                [[matrix] for matrix in (no_prompt, *matrices)], target
            )  # each [1, E]
            for score, name in ((EXACT_MATCH, "exact_match"), (RANK_ACCURACY, "rank_correct")):
                correct[score][target] = np.concatenate([getattr(answers, name) for answers in of_prompts])
                baseline[score][target] = getattr(without, name)[0]
            labels = labels_of(study.targets[target].examples).numpy()
            written = np.empty((len(matrices), len(labels)), dtype=int)
            for source in dict.fromkeys(tasks):
                indices = [index for index, task in enumerate(tasks) if task == source]
                answers = study.answers([[matrices[i]] for i in indices], target, answers_of=source)
                written[indices] = np.concatenate([answer.most_likely for answer in answers])
            correct[LABEL_MAP][target] = correct_up_to_label_map(written, labels)
            baseline[LABEL_MAP][target] = correct_by_majority(labels)
        for score in SCORES:
            # Equal texts get equal answers, but the label map is another one in each half of the examples.
            known = {} if score == LABEL_MAP else ceilings
            table = transfer_table(tasks, keys, correct[score], baseline[score], known)
            grids.append(table.assign(variant=variant, score=score))
    table = pd.concat(grids, ignore_index=True)
    table = pd.concat(
        [corrected_over_pairs(table[table["score"] == score]) for score in SCORES], ignore_index=True
    )
    table[["gain", "low", "high"]] *= 100
    table["interval_excludes_zero"] = (table["low"] > 0) | (table["high"] < 0)
    return table


def _ceilings(study: Study) -> dict[str, float]:
    """By task, the best possible share of right answers, where the model's `truth.json` has it (`ceiling`)."""
    folder = local_folder(study.settings.model)
    if folder is None or not (folder / "truth.json").exists():
        return {}
    truth = read_json(folder / "truth.json")
    ceilings = {
        task: of_task["ceiling"]
        for task, of_task in truth.items()
        if task in study.targets and "ceiling" in of_task
    }
    for task, ceiling in ceilings.items():
        if not isinstance(ceiling, int | float) or not 0 < ceiling <= 1:
            raise UserError(
                f"{folder / 'truth.json'}: the ceiling of task {task!r} should be a share above 0 and up to 1, "
                f"but is {ceiling!r}"
            )
    return ceilings
