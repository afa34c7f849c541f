"""Must the tokens that stayed really help? (reference study, section 5.1)"""

from collections.abc import Iterator, Sequence

import pandas as pd

from softprompt.analysis.ablation import MINIMUM_ROWS, NEGLIGIBLE
from softprompt.analysis.intervals import interval_over_runs
from softprompt.analysis.pruning import KEEPS
from softprompt.report.formatting import format_interval
from softprompt.report.registry import Claim, Question, Verdict


def ablation_claim(
    table: pd.DataFrame, kept_vs_others: pd.DataFrame, together: pd.DataFrame
) -> Iterator[Claim]:
    """The claim, if any row kept its token.

    It holds if dropping a kept row costs more than dropping another one, wherever prompts have rows of both kinds. It fails
    if it costs less somewhere, or if on some task most kept rows can be dropped together and the prompts keep their exact match:
    tokens that stay there help nothing.

    Args:
        table: lines of `ablation_table`, with `kept`.
        kept_vs_others: lines of `kept_vs_others_table`.
        together: one line per run: `task`, `variant`, `rows`, `kept_rows`, `dropped_rows`, `dropped_kept_rows`, `exact_match` and `exact_match_left`.
    """
    runs = together[together["kept_rows"] > 0]
    if runs.empty:
        return
    dropped = kept_vs_others[kept_vs_others["edit"] == "dropped"]
    compared = dropped[dropped["low"].notna()]
    groups = [
        (f"{task} from {variant}", of)
        for (task, variant), of in runs.groupby(["task", "variant"], sort=False)
    ]
    idle = [name for name, of_task in groups if _are_idle(of_task)]
    if len(compared) and (compared["low"] > 0).all() and not idle:
        verdict = Verdict.HOLDS
    elif idle or (compared["high"] < 0).any():
        verdict = Verdict.FAILS
    else:
        verdict = Verdict.OPEN
    yield Claim(
        Question.TOKENS,
        "Tokens that stayed must really help.",
        verdict,
        " ".join([*_comparisons(compared), *_together(table, groups, idle)]),
    )


def _comparisons(compared: pd.DataFrame) -> Iterator[str]:
    if compared.empty:
        yield (
            f"No prompts have {MINIMUM_ROWS} rows that kept their token and {MINIMUM_ROWS} others, so that kept rows cannot be "
            "compared with others."
        )
    for row in compared.to_dict("records"):
        yield (
            f"{row['task']} from {row['variant']}: dropping a kept row costs {row['kept_loss_change']:.3f} nats, another row "
            f"{row['other_loss_change']:.3f}; difference {row['difference']:+.3f} "
            f"{format_interval(row['low'], row['high'], '+.3f')}."
        )


def _are_idle(runs: pd.DataFrame) -> bool:
    """Can most kept rows of a task's runs be dropped together without loss?"""
    whole, left = runs["exact_match"].mean(), runs["exact_match_left"].mean()
    are_most = runs["dropped_kept_rows"].sum() > runs["kept_rows"].sum() / 2
    return bool(are_most and left >= KEEPS * whole > 0)


def _together(
    table: pd.DataFrame, groups: Sequence[tuple[str, pd.DataFrame]], idle: Sequence[str]
) -> Iterator[str]:
    rows = table[(table["edit"] == "dropped") & table["kept"]]
    yield (
        f"{(rows['loss_change'] < NEGLIGIBLE).sum()} of {len(rows)} kept rows cost less than {NEGLIGIBLE} nats if each is "
        "dropped alone. Without all rows of so small a cost the exact match left is:"
    )
    parts = []
    for name, runs in groups:
        low, high = interval_over_runs(runs["exact_match_left"].tolist())
        interval = f" {format_interval(100 * low, 100 * high, '.0f')}" if low == low else ""
        parts.append(
            f"{name} {runs['exact_match_left'].mean():.0%}{interval} of {runs['exact_match'].mean():.0%}, "
            f"{runs['dropped_rows'].sum()} of {runs['rows'].sum()} rows dropped"
        )
    yield "; ".join(parts) + "."
    yield (
        f"So most tokens that stayed are not needed on {', '.join(idle)}."
        if idle
        else "Where it falls, the rows stand in for one another: a small cost of each does not show that none is needed."
    )
