"""Pruning: how few rows of a prompt do its work, if they are chosen greedily."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softprompt.analysis.pruning import KEEPS, fewest_rows_table, median_interval
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.formatting import figure_name
from softprompt.report.prune_prompts import CURVES, INITIAL, RANDOM, TUNED, pruning_curves
from softprompt.report.pruning_claim import pruning_claim
from softprompt.report.registry import Section, section
from softprompt.report.style import FAINT, colour_of
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

TOKENS = 5  # named in a finding


@section(place=45, needs_list=True)
def pruning(study: Study, settings: AnalysisSettings) -> Section:
    """The curves of greedy pruning from either end, beside a random order and the initial prompts."""
    curves = pruning_curves(study, settings.pruning_examples)
    fewest = fewest_rows_table(curves)
    tuned = curves[curves["prompt"] == TUNED]
    chosen_on = settings.pruning_examples or "all"
    return Section(
        title="Pruning",
        how=(
            "Backward: the row without which the loss is lowest is dropped, again and again. Forward: from no rows, the row "
            f"with which the loss is lowest is added. Both choose on {chosen_on} validation examples; the curves are scored "
            f"on the others (n = {tuned['n'].min()} or more). For comparison rows are dropped in a random order, and the "
            f"initial prompts are pruned backward. “Keeps {KEEPS:.0%}”: the fewest rows whose exact match is at least "
            f"{KEEPS:.0%} of the whole prompt's, and that of every larger number of rows, too. The interval of a median over "
            "runs is from order statistics; it needs six runs, with fewer the range is given."
        ),
        findings=list(_findings(fewest)),
        claims=list(pruning_claim(fewest, figure_name("pruning", str(tuned["variant"].iloc[0])))),
        digest=_digest(fewest),
        drawings={
            figure_name("pruning", str(variant)): _figure(group, str(variant), fewest)
            for variant, group in tuned.groupby("variant", sort=False)
        },
        tables={"pruning_fewest_rows": fewest, "pruning": curves},
        names_spaces=True,
    )


def _findings(fewest: pd.DataFrame) -> Iterator[str]:
    for variant, group in fewest.groupby("variant", sort=False):
        of = {
            (prompt, order): part
            for (prompt, order), part in group.dropna(subset="fewest_rows").groupby(
                ["prompt", "order"], sort=False
            )
        }
        backward = of.get((TUNED, "backward"))
        if backward is None:
            continue
        medians = {key: part["fewest_rows"].median() for key, part in of.items()}
        compared = [
            f"{name} {_rows(of[key]['fewest_rows'])}"
            for key, name in (
                ((TUNED, "forward"), "forward"),
                ((TUNED, RANDOM), "in a random order"),
                ((INITIAL, "backward"), "the initial prompts, backward,"),
            )
            if key in of
        ]
        counts = Counter(token for tokens in backward["kept_tokens"] for token in set(tokens.split()))
        named = ", ".join(f"“{token}” ({count})" for token, count in counts.most_common(TOKENS))
        no_better = medians[TUNED, "backward"] >= medians[TUNED, RANDOM]
        initial = group[(group["prompt"] == INITIAL) & (group["order"] == "backward")]
        as_good = initial["exact_match"].mean() >= KEEPS * backward["exact_match"].mean()
        as_initial = as_good and medians[INITIAL, "backward"] <= medians[TUNED, "backward"]
        yield (
            f"Initialised from {variant}, {KEEPS:.0%} of the exact match is kept by {_rows(backward['fewest_rows'])} of "
            f"{backward['all_rows'].median():g} rows (backward, median over {len(backward)} runs); {'; '.join(compared)}. The "
            f"whole prompts' exact match is {backward['exact_match'].mean():.0%}"
            f", before tuning {initial['exact_match'].mean():.0%}."
            f"{' Greedy pruning does not need fewer rows than a random order.' if no_better else ''}"
            f"{' The initial prompts need as few, so this is no effect of tuning.' if as_initial else ''}"
            + (f" Nearest tokens of the rows kept most often, with their runs: {named}." if named else "")
        )


def _rows(values: "pd.Series[float]") -> str:
    """A median with its interval, or with the range of few runs."""
    low, high = median_interval(values.tolist())
    if low == low:
        return f"{values.median():g} [{low:g}, {high:g}]"
    return f"{values.median():g} (range {values.min():g} to {values.max():g})"


def _digest(fewest: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for (task, variant), group in fewest.groupby(["task", "variant"], sort=False):
        line: dict[str, object] = {
            "task": task,
            "initialised from": variant,
            "runs": group["run"].nunique(),
            "rows": f"{group['all_rows'].median():g}",
        }
        for prompt, order in CURVES:
            values = group[(group["prompt"] == prompt) & (group["order"] == order)]["fewest_rows"].dropna()
            line[f"{prompt}, {order}"] = _rows(values) if len(values) else "–"
        lines.append(line)
    return pd.DataFrame(lines)


@rc_context(STYLE)
def _figure(curves: pd.DataFrame, variant: str, fewest: pd.DataFrame) -> Drawing:
    """A panel per task: a thin line per run, a thick one for the mean over runs, a colour per order."""
    tasks, orders = (list(dict.fromkeys(curves[name])) for name in ("task", "order"))
    colours = {**colour_of(orders), RANDOM: FAINT}
    figure = Figure(figsize=(2.6 * len(tasks) + 0.6, 2.8), layout="constrained")
    drawing = Drawing(figure, caption=_caption(variant, fewest))
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axis, task in zip(panels, tasks, strict=True):
        for order in orders:
            lines = curves[(curves["task"] == task) & (curves["order"] == order)]
            for _, run in lines.groupby("run"):
                axis.plot(run["rows"], run["exact_match"], color=colours[order], lw=0.5, alpha=0.5)
            mean = lines.groupby("rows")["exact_match"].mean()
            style = "--" if order == "forward" else "-"  # two orders that agree are both seen
            (line,) = axis.plot(mean.index, mean, style, color=colours[order], lw=2, label=order)
            drawing.tip(line, f"{task}, {order}: mean over {lines['run'].nunique()} runs")
        axis.set(title=task, xlabel="rows left")
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panels[0].set(ylabel="exact match", ylim=(-0.03, 1.03))
    panels[-1].legend(fontsize=8)
    figure.suptitle(f"from {variant}: exact match by rows left", x=0.01, ha="left", weight="bold", size=10)
    return drawing


def _caption(variant: str, fewest: pd.DataFrame) -> str:
    tuned = fewest[(fewest["prompt"] == TUNED) & (fewest["variant"] == variant)].dropna(subset="fewest_rows")
    rows = [
        f"{order} {of_order['fewest_rows'].median():g}"
        for order, of_order in tuned.groupby("order", sort=False)
    ]
    kept = (
        f" {KEEPS:.0%} of it is kept by this many rows, median over runs: {', '.join(rows)}." if rows else ""
    )
    return f"From {variant}: exact match of tuned prompts with fewer rows.{kept} A thin line is a run, a thick one the mean."
