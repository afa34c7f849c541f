"""Greedy pruning of all prompts of a sweep: the orders of their rows, and the curves. Two sections read them."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.pruning import backward_orders, forward_orders, nested_rows, random_orders
from softprompt.study import Study

Matrix = Float[Tensor, "_ d"]
ORDERS = {"backward": backward_orders, "forward": forward_orders}
RANDOM = "random order"
TUNED, INITIAL = PROMPTS = ("tuned", "initial")
# Whose curves are scored. A curve costs more than finding its order, because it needs more examples.
CURVES = ((TUNED, "backward"), (TUNED, "forward"), (TUNED, RANDOM), (INITIAL, "backward"))
CURVE_EXAMPLES = 24


@cache
def pruning_orders(study: Study, examples: int | None) -> dict[tuple[str, str], list[list[int]]]:
    """By kind of prompt (`PROMPTS`) and order (`ORDERS`, `RANDOM`): for every run all rows, the most important first.

    Args:
        study: the sweep.
        examples: on how many validation examples candidates are scored; None means all.
    """
    orders: dict[tuple[str, str], list[list[int]]] = {}
    for kind, prompts in _matrices(study).items():
        for name, prune in ORDERS.items():
            orders[kind, name] = [[] for _ in prompts]
            for task in study.targets:
                indices = list(study.labels.index[study.labels["task"] == task])

                def losses(
                    groups: Sequence[Sequence[Matrix]], task: str = task
                ) -> list[Float[np.ndarray, "P"]]:
                    return [answers.loss.mean(1) for answers in study.answers(groups, task, examples)]

                pruned = prune([prompts[index] for index in indices], losses)
                for index, order in zip(indices, pruned, strict=True):
                    orders[kind, name][index] = order
        orders[kind, RANDOM] = random_orders(prompts)
    return orders


def pruning_curves(study: Study, examples: int | None) -> pd.DataFrame:
    """Loss and exact match with 0, 1, ... n rows, in every order.

    Rows are chosen on `examples` validation examples and scored on `CURVE_EXAMPLES` evenly spaced ones without those, so
    that a choice is not scored on the examples it fits. If none are left, it is scored on all `CURVE_EXAMPLES`.

    Returns:
        One line per run, each of `CURVES`, and number of rows: `loss` (nats per answer), `exact_match`, `n` (examples),
        `kept_rows`, and `kept_tokens`: the nearest tokens of the rows that are left, of tuned prompts only.
    """
    lines: list[dict[str, object]] = []
    matrices = _matrices(study)
    all_orders = pruning_orders(study, examples)
    for kind, name in CURVES:
        orders = all_orders[kind, name]
        for task in study.targets:
            indices = list(study.labels.index[study.labels["task"] == task])
            kept = [nested_rows(orders[index]) for index in indices]
            groups = [
                [matrices[kind][index][list(rows)] for rows in of_run]
                for index, of_run in zip(indices, kept, strict=True)
            ]
            scored_on = study.example_indices(task, CURVE_EXAMPLES)
            new = ~np.isin(scored_on, study.example_indices(task, examples))
            others = new if new.any() else ~new
            answers_of_runs = study.answers(groups, task, CURVE_EXAMPLES)
            for index, of_run, answers in zip(indices, kept, answers_of_runs, strict=True):
                nearest = [study.text_of(token).strip() for token in study.nearest[index]]
                label = {key: study.labels[key][index] for key in ("run", "task", "variant", "seed")}
                lines += [
                    {
                        **label,
                        "prompt": kind,
                        "order": name,
                        "rows": len(rows),
                        "loss": answers.loss[count, others].mean(),
                        "exact_match": answers.exact_match[count, others].mean(),
                        "n": int(others.sum()),
                        "kept_rows": " ".join(map(str, rows)),
                        "kept_tokens": " ".join(nearest[row] for row in rows) if kind == TUNED else "",
                    }
                    for count, rows in enumerate(of_run)
                ]
    return pd.DataFrame(lines)


def _matrices(study: Study) -> dict[str, list[Matrix]]:
    return dict(
        zip(PROMPTS, ([prompt.matrix for prompt in study.prompts], study.initial_matrices), strict=True)
    )
