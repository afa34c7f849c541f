import numpy as np
import pandas as pd
import pytest
import torch

from softprompt.analysis.pruning import (
    backward_orders,
    fewest_rows,
    fewest_rows_table,
    forward_orders,
    median_interval,
    nested_rows,
    random_orders,
)
from softprompt.report.pruning_claim import pruning_claim
from softprompt.report.registry import Verdict

# One column: the value of a row. Loss is what is missing of a value; rows are worth less together with like ones.
PROMPTS = [torch.tensor([[1.0], [5.0], [2.0]]), torch.tensor([[3.0], [0.0]])]


def losses(groups):
    return [np.array([-float(prompt.sum()) for prompt in group]) for group in groups]


def test_the_row_with_the_least_effect_is_dropped_first():
    assert backward_orders(PROMPTS, losses) == [[1, 2, 0], [0, 1]]


def test_the_row_with_the_largest_effect_is_added_first():
    assert forward_orders(PROMPTS, losses) == [[1, 2, 0], [0, 1]]


def test_either_end_can_lead_to_another_order():
    """Rows 0 and 1 are best together, row 2 is best alone."""
    loss = {(): 9, (0,): 5, (1,): 5, (2,): 1, (0, 1): 0, (0, 2): 3, (1, 2): 4, (0, 1, 2): 0}
    prompt = torch.tensor([[0.0], [1.0], [2.0]])

    def of(groups):
        return [np.array([loss[tuple(int(v) for v in p[:, 0])] for p in group], float) for group in groups]

    assert backward_orders([prompt], of) == [[1, 0, 2]]
    assert forward_orders([prompt], of) == [[2, 0, 1]]


def test_candidates_of_all_prompts_are_scored_side_by_side():
    asked = []

    def counting(groups):
        asked.append([len(group) for group in groups])
        return losses(groups)

    backward_orders(PROMPTS, counting)
    assert asked == [[3, 2], [2, 1], [1]]


def test_nested_rows_keep_their_order():
    assert nested_rows([2, 0, 1]) == [(), (2,), (0, 2), (0, 1, 2)]
    assert sorted(random_orders(PROMPTS)[0]) == [0, 1, 2] and random_orders(PROMPTS) == random_orders(PROMPTS)


@pytest.mark.parametrize(
    ("exact_match", "rows"),
    [
        ([0.0, 0.5, 0.95, 1.0], 2),
        ([0.0, 1.0, 0.5, 1.0], 3),  # with two rows it is lower again
        ([1.0, 1.0, 1.0], 0),
        ([0.0, 0.0, 1.0], 2),
    ],
)
def test_the_fewest_rows_that_keep_the_exact_match(exact_match: list[float], rows: int) -> None:
    assert fewest_rows(exact_match) == rows


def test_nothing_is_kept_of_nothing():
    assert np.isnan(fewest_rows([0.0, 0.0]))


def test_the_kept_tokens_are_those_of_the_fewest_rows():
    curve = {"rows": [0, 1, 2], "exact_match": [0.0, 1.0, 1.0], "kept_tokens": ["", "b", "a b"]}
    label = {"run": "r", "task": "cb", "variant": "text", "prompt": "tuned", "order": "backward"}
    (line,) = fewest_rows_table(pd.DataFrame(curve).assign(**label)).to_dict("records")
    assert (line["fewest_rows"], line["all_rows"], line["kept_tokens"], line["exact_match"]) == (1, 2, "b", 1)


def test_the_interval_of_a_median_is_exact():
    # With six values the smallest and the largest miss the median with 2 · 2^-6 = 3%.
    assert median_interval([6, 5, 4, 3, 2, 1]) == (1, 6)
    assert np.isnan(median_interval([1, 2, 3, 4, 5])).all()
    assert median_interval(list(range(1, 11))) == (2, 9)  # tabulated for ten values


def fewest(
    tuned: list[float], random: list[float], initial: list[float], variant: str = "text"
) -> pd.DataFrame:
    """Fewest rows of twenty, by run."""
    return pd.DataFrame(
        [
            {"task": "cb", "variant": variant, "run": run, "prompt": prompt, "order": order, "fewest_rows": rows,
             "all_rows": 20, "exact_match": 1.0, "kept_tokens": "or" if prompt == "tuned" else ""}
            for prompt, order, of_runs in (
                ("tuned", "backward", tuned), ("tuned", "random order", random), ("initial", "backward", initial)
            )
            for run, rows in enumerate(of_runs)
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tables", "verdict", "said"),
    [
        (
            [fewest([1] * 6, [8] * 6, [9] * 6)],
            Verdict.HOLDS,
            "5% [5, 5] of the rows (1 of 20; median over 6 runs)",
        ),
        ([fewest([1] * 6, [8] * 6, [1] * 6)], Verdict.HOLDS, "so tuning did not make them few"),
        (
            [fewest([1] * 6, [8] * 6, [0] * 6)],
            Verdict.HOLDS,
            "only 0 of the prompts score more than no prompt",
        ),
        ([fewest([1] * 3, [8] * 3, [])], Verdict.HOLDS, "in a random order 40% (range 40% to 40%)"),
        ([fewest([1, 1, 8], [9] * 3, [])], Verdict.OPEN, "“or” (3)"),
        ([fewest([1] * 6, [1] * 6, [])], Verdict.FAILS, "in a random order 5% [5, 5]"),
        ([fewest([15] * 6, [18] * 6, [])], Verdict.FAILS, "75% [75, 75]"),
        ([fewest([0, 1, 1], [8] * 3, [])], Verdict.HOLDS, "1 runs keep their exact match without a prompt"),
        ([fewest([1], [8], []), fewest([15], [18], [], "random")], Verdict.OPEN, "From random: 75%"),
    ],
)
def test_few_rows_are_compared_with_a_random_order(
    tables: list[pd.DataFrame], verdict: Verdict, said: str
) -> None:
    (claim,) = pruning_claim(pd.concat(tables), None)
    assert claim.verdict is verdict and said in claim.evidence


def test_prompts_that_are_not_needed_have_no_rows_that_carry_them():
    assert not list(pruning_claim(fewest([0], [0], [0]), None))
