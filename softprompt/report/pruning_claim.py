"""Do a few rows carry a prompt?"""

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from softprompt.analysis.pruning import median_interval
from softprompt.report.formatting import format_interval
from softprompt.report.prune_prompts import INITIAL, RANDOM, TUNED
from softprompt.report.registry import Claim, Question, Verdict

FEW, MANY = 0.25, 0.5  # of a prompt's rows
TOKENS = 5  # named for each start


def pruning_claim(fewest: pd.DataFrame, drawing: str | None) -> Iterator[Claim]:
    """The claim, judged for each start by backward pruning.

    It holds if for every start the median share of rows that keep the exact match, with the upper end of its interval (the
    largest share, with too few runs for one), is a quarter or less, and below that of a random order. It fails if for every
    start it is above a half, or not below that of a random order. Runs whose model keeps its exact match without a prompt
    are left out: no row carries anything there.

    Args:
        fewest: `fewest_rows_table` of all prompts and orders.
        drawing: the name of the figure.
    """
    known = fewest.dropna(subset="fewest_rows")
    known = known.assign(share=known["fewest_rows"] / known["all_rows"])
    backward = known[(known["prompt"] == TUNED) & (known["order"] == "backward")]
    needed = backward[backward["fewest_rows"] > 0]
    if needed.empty:
        return
    verdicts, evidence = [], []
    for variant, runs in needed.groupby("variant", sort=False):
        of_variant = known[(known["variant"] == variant) & (known["fewest_rows"] > 0)]
        in_random_order = of_variant[(of_variant["prompt"] == TUNED) & (of_variant["order"] == RANDOM)]
        initial = of_variant[(of_variant["prompt"] == INITIAL) & (of_variant["order"] == "backward")]
        median, random_median = runs["share"].median(), in_random_order["share"].median()
        ends = median_interval(runs["share"].tolist())
        upper = ends[1] if ends[1] == ends[1] else runs["share"].max()
        if upper <= FEW and median < random_median:
            verdicts.append(Verdict.HOLDS)
        else:
            is_many = median > MANY or median >= random_median
            verdicts.append(Verdict.FAILS if is_many else Verdict.OPEN)
        evidence.append(
            f"From {variant}: {_share(runs)} of the rows ({runs['fewest_rows'].median():g} of "
            f"{runs['all_rows'].median():g}; median over {len(runs)} runs), in a random order {_share(in_random_order)}"
            f"{_of_initial(initial, runs)}.{_tokens(runs)}"
        )
    without = len(backward) - len(needed)
    if without:
        evidence.append(f"{without} runs keep their exact match without a prompt and are left out.")
    of_all = verdicts[0] if len(set(verdicts)) == 1 else Verdict.OPEN
    yield Claim(Question.TOKENS, "A few rows carry the prompt.", of_all, " ".join(evidence), drawing)


def _share(runs: pd.DataFrame) -> str:
    low, high = median_interval(runs["share"].tolist())
    if low == low:
        return f"{runs['share'].median():.0%} {format_interval(100 * low, 100 * high, '.0f')}"
    return f"{runs['share'].median():.0%} (range {runs['share'].min():.0%} to {runs['share'].max():.0%})"


def _of_initial(initial: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Prompts that score nothing before tuning have no rows that carry them."""
    if len(initial) < len(runs) / 2:
        return f"; before tuning only {len(initial)} of the prompts score more than no prompt"
    as_few = initial["share"].median() <= runs["share"].median()
    return f"; before tuning {_share(initial)}{', so tuning did not make them few' if as_few else ''}"


def _tokens(runs: pd.DataFrame) -> str:
    counts = Counter(token for tokens in runs["kept_tokens"] for token in set(tokens.split()))
    named = ", ".join(f"“{token}” ({count})" for token, count in counts.most_common(TOKENS))
    return f" Nearest tokens of these rows, with their runs: {named}." if named else ""
