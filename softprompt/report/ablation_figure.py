"""The figure of one prompt's rows, ablated one at a time."""

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softprompt.analysis.ablation import NEGLIGIBLE
from softprompt.report.drawing import STYLE, Drawing, fonts_for
from softprompt.report.style import INK, KEPT, LINE, OTHER_ROW, shared_initial_tokens, token_label


@rc_context(STYLE)
def ablation_figure(table: pd.DataFrame, title: str, limits: tuple[float, float]) -> Drawing:
    """A line per prompt row, a panel per edit: a dot per run, and a bar for their mean.

    Args:
        table: lines of ablation.csv of a task and variant.
        title: of the figure.
        limits: of the changes in loss, in nats per answer, the same for all figures that are compared.
    """
    edits = list(dict.fromkeys(table["edit"]))
    rows = sorted(table["row"].unique())
    figure = Figure(figsize=(1.7 * len(edits) + 1.4, 0.19 * len(rows) + 1.0), layout="constrained")
    drawing = Drawing(figure, caption=_caption(table, title))
    axes = figure.subplots(1, len(edits), sharex=True, sharey=True, squeeze=False)[0]
    for axis, edit in zip(axes, edits, strict=True):
        for row, runs in table[table["edit"] == edit].groupby("row"):
            mean, colour = runs["loss_change"].mean(), KEPT if runs["kept"].mean() > 0.5 else OTHER_ROW
            (bar,) = axis.barh(row, mean, color=colour, height=0.7, alpha=0.75)
            axis.plot(runs["loss_change"], [row] * len(runs), ".", color=INK, ms=3, alpha=0.6)
            drawing.tip(
                bar,
                f"row {row}, {edit}: {mean:+.3f} nats, {runs['exact_match_change'].mean():+.1f} points of exact match; "
                f"kept in {runs['kept'].sum()} of {len(runs)} runs",
            )
        axis.axvline(0, color=LINE, lw=0.8)
        axis.set(title=edit, xlabel="nats per answer", xlim=limits)
        axis.xaxis.set_major_locator(MaxNLocator(3))
    tokens = shared_initial_tokens(table)
    labels = [f"{row}  {token_label(tokens[row])}" if row in tokens else str(row) for row in rows]
    axes[0].set(yticks=rows, yticklabels=labels, ylim=(len(rows) - 0.4, -0.6))
    for label in axes[0].get_yticklabels():
        label.set_fontfamily(fonts_for(label.get_text()))
    figure.suptitle(f"{title}: rise in loss by row and edit", x=0.01, ha="left", weight="bold", size=10)
    return drawing


def _caption(table: pd.DataFrame, title: str) -> str:
    dropped = table[table["edit"] == "dropped"]
    by_row = {int(str(row)): runs["loss_change"].mean() for row, runs in dropped.groupby("row")}
    row = max(by_row, key=lambda row: by_row[row])
    tokens = shared_initial_tokens(table)
    named = f"row {row} (“{tokens[row].strip()}”)" if row in tokens else f"row {row}"
    return (
        f"{title}: rise in loss when one row is edited, the others as tuned. Dropping {named} costs most, "
        f"{by_row[row]:.2f} nats, mean over {dropped['run'].nunique()} runs; {sum(cost < NEGLIGIBLE for cost in by_row.values())} of "
        f"{len(by_row)} rows cost less than {NEGLIGIBLE} nats each. All panels and tasks have the same axis. A dot is a run; a "
        "bar is green if the row kept its initial token as the nearest in more than half of the runs."
    )
