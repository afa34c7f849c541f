"""Methods against prompt tuning, in pairs of runs."""

import numpy as np
import pytest

from softprompt.analysis.method_pairs import Trained, method_pairs_table


def runs_of(method: str, steps: list[float], scores: list[float], optimiser: str = "adam") -> list[Trained]:
    """One run per seed."""
    return [
        Trained("cb", "text", seed, method, optimiser, score, step)
        for seed, (step, score) in enumerate(zip(steps, scores, strict=True))
    ]


def test_steps_and_scores_are_compared_by_seed_with_exact_p() -> None:
    prompt = runs_of("prompt", [8, 8, 16, np.inf], [0.5, 0.5, 0.5, 0.5])
    prefix = runs_of("prefix", [4, 8, 8, 64], [0.6, 0.5, 0.7, 0.6])
    (line,) = method_pairs_table([*prompt, *prefix]).to_dict("records")
    assert (line["pairs"], line["units"], line["sooner"], line["later"]) == (4, 4, 3, 0)
    # Signs 1, 0, 1, 1: 4 of 16 flips are as far from 0. Differences 10, 0, 20, 10: the same 4. Holm's factor of both is 2.
    assert line["p, steps"] == pytest.approx(4 / 16)
    assert line["p_holm, steps"] == pytest.approx(2 * 4 / 16)
    assert line["p_holm, difference"] == pytest.approx(2 * 4 / 16)
    assert line["difference"] == pytest.approx(10.0)


def test_two_runs_that_never_reach_the_level_are_equally_soon() -> None:
    (line,) = method_pairs_table(
        [*runs_of("prompt", [np.inf], [0.5]), *runs_of("pez", [np.inf], [0.5])]
    ).to_dict("records")
    assert (line["sooner"], line["later"], line["p, steps"], line["p, difference"]) == (0, 0, 1.0, 1.0)


def test_starts_of_one_seed_are_one_unit() -> None:
    both = [
        Trained("cb", start, 0, method, None, score, 4.0)
        for start in ("text", "vocab")
        for method, score in (("prompt", 0.5), ("prefix", 0.7))
    ]
    (line,) = method_pairs_table(both).to_dict("records")
    assert (line["pairs"], line["units"]) == (2, 1)
    assert line["difference"] == pytest.approx(20.0)


def test_of_several_learning_rates_the_same_is_compared() -> None:
    prompt = [*runs_of("prompt", [4], [0.5], "0.01"), *runs_of("prompt", [4], [0.3], "0.1")]
    (line,) = method_pairs_table([*prompt, *runs_of("residual", [4], [0.6], "0.1")]).to_dict("records")
    assert line["difference"] == pytest.approx(30.0)
    assert method_pairs_table([*prompt, *runs_of("residual", [4], [0.6], "1")]).empty


def test_a_unit_counts_once_however_many_pairs_it_has() -> None:
    """Unit means +40, +40 and -19 points; the last unit has ten pairs."""
    pairs = []
    for seed, settings, difference in [(0, 1, 0.4), (1, 1, 0.4), (2, 10, -0.19)]:
        for setting in range(settings):
            pairs.append(Trained("cb", setting, seed, "prompt", None, 0.5, 4.0))
            pairs.append(Trained("cb", setting, seed, "prefix", None, 0.5 + difference, 4.0))
    (line,) = method_pairs_table(pairs).to_dict("records")
    assert (line["pairs"], line["units"]) == (12, 3)
    assert line["difference"] == pytest.approx((40 + 40 - 19) / 3)
    assert line["p, difference"] == pytest.approx(4 / 8)


def test_a_run_of_another_setting_is_no_partner() -> None:
    short = [Trained("cb", "2 epochs", 0, "prompt", None, 0.5, 4.0)]
    long = [Trained("cb", f"{epochs} epochs", 0, "prefix", None, 0.5, 4.0) for epochs in (2, 6)]
    (line,) = method_pairs_table([*short, *long]).to_dict("records")
    assert (line["pairs"], line["without"]) == (1, 1)
