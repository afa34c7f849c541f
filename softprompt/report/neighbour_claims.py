"""What nearest tokens show about two claims of the reference study (section 5.1)."""

from collections.abc import Iterator, Sequence

import pandas as pd
from scipy.stats import fisher_exact

from softprompt.analysis.intervals import interval_over_runs
from softprompt.report.formatting import format_interval
from softprompt.report.registry import Claim, Question, Verdict

TUNED, INITIAL, RANDOM_STEP, RANDOM_VECTORS = "tuned", "initial", "random step", "random vectors"
LEVEL = 0.05
WORDS = 5  # named in a claim


def kept_claim(shares: pd.DataFrame, drawing: str | None) -> Iterator[Claim]:
    """Do rows stay near the tokens that they started from?

    Args:
        shares: `kept_shares` of the runs whose rows started as tokens, with the columns `tuned` and `random step`. Without
            such runs there is no claim.
        drawing: the name of the figure.
    """
    if shares.empty:
        return
    tuned, step = shares[TUNED].tolist(), shares[RANDOM_STEP].tolist()
    low, high = interval_over_runs(tuned)
    step_low, step_high = interval_over_runs(step)
    verdict = Verdict.HOLDS if low > 0.5 else Verdict.FAILS if high < 0.5 else Verdict.OPEN
    difference = (shares[TUNED] - shares[RANDOM_STEP]).tolist()
    difference_low, difference_high = interval_over_runs(difference, least=-1.0)
    if difference_low > 0:
        null = (
            "A random step of the same length keeps fewer: training prefers directions that keep the token."
        )
    elif difference_high < 0:
        null = "A random step of the same length keeps more: training moves rows to other tokens more than chance."
    elif pd.Series(difference).mean() < 0:
        null = "Whether a random step of the same length keeps more cannot be told."
    else:
        null = (
            "A random step of the same length keeps as many, so that this shows how short the steps are, and nothing "
            "about what was learned."
        )
    yield Claim(
        Question.TOKENS,
        "Rows stay near the tokens that they started from.",
        verdict,
        f"{pd.Series(tuned).mean():.0%}{_interval(low, high)} of the rows have their initial token as the nearest (raw), "
        f"mean over {len(tuned)} runs that started from tokens. After a random step as long as each row's displacement: "
        f"{pd.Series(step).mean():.0%}{_interval(step_low, step_high)}. {null}",
        drawing,
    )


def lexicon_claim(counts: pd.DataFrame, words: Sequence[str], share: float) -> Iterator[Claim]:
    """Do words such as “correct” appear near the rows of any task?

    Args:
        counts: `lexicon_counts` of all kinds of prompts.
        words: of the lexicon. Without any there is no claim.
        share: of the vocabulary's tokens that are words of the lexicon.
    """
    if not words:
        return
    says = f"Words such as “{words[0]}” appear near the rows of any task."
    if share == 0:
        yield Claim(
            Question.TOKENS, says, Verdict.OPEN, "No token of the vocabulary is a word of the lexicon."
        )
        return
    of = {str(kind): group for kind, group in counts.groupby("prompt", sort=False)}
    tuned = of[TUNED]
    totals = {kind: (int(group["with_word"].sum()), int(group["runs"].sum())) for kind, group in of.items()}
    on_tasks = int((tuned["with_word"] > 0).sum())
    found, runs = totals[TUNED]
    null, null_runs = max((totals[kind] for kind in (INITIAL, RANDOM_STEP)), key=lambda total: total[0])
    # Fisher's exact test: the share of tuned prompts against the larger share of untrained ones.
    counted = [[found, runs - found], [null, null_runs - null]]
    p, p_fewer = (float(fisher_exact(counted, alternative=side).pvalue) for side in ("greater", "less"))
    if on_tasks == len(tuned) and p < LEVEL:
        verdict, said = Verdict.HOLDS, f"more than by chance (p = {p:.2g})"
    elif found == 0 or p_fewer < LEVEL:
        verdict, said = Verdict.FAILS, "not more than by chance"
    else:
        verdict = Verdict.OPEN
        said = f"more than by chance (p = {p:.2g}), but not on every task" if p < LEVEL else ""
        said = said or f"not shown to be more than by chance (p = {p:.2g})"
    seen = list(dict.fromkeys(" ".join(tuned["tokens"]).split()))[:WORDS]
    named = f" ({', '.join(seen)})" if seen else ""
    yield Claim(
        Question.TOKENS,
        says,
        verdict,
        f"A word of the lexicon that is no initial token is among the nearest tokens (raw) of {found} of {runs} tuned "
        f"prompts{named}, on {on_tasks} of {len(tuned)} tasks: {said}. Before tuning: {_of(totals[INITIAL])}; after a "
        f"random step as long as tuning's: {_of(totals[RANDOM_STEP])}; random vectors: {_of(totals[RANDOM_VECTORS])}. "
        f"{share:.2%} of the vocabulary are words of the lexicon.",
    )


def _interval(low: float, high: float) -> str:
    return f" {format_interval(100 * low, 100 * high, '.0f')}" if low == low else ""


def _of(total: tuple[int, int]) -> str:
    return f"{total[0]} of {total[1]}"
