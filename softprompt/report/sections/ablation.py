"""Ablation of rows: one row at a time is dropped or replaced."""

from collections.abc import Iterator

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softprompt.analysis.ablation import MINIMUM_ROWS, ablation_table, edited_prompts, kept_vs_others_table
from softprompt.report.drawing import STYLE, Drawing, fonts_for
from softprompt.report.formatting import figure_name, format_interval, format_range
from softprompt.report.registry import Section, section
from softprompt.report.style import INK, KEPT, LINE, OTHER_ROW, shared_initial_tokens, token_label
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

NEGLIGIBLE = 0.01  # nats per answer


@section(place=40)
def ablation(study: Study, settings: AnalysisSettings) -> Section:
    """The change in loss for every edit of every row, and whether kept rows matter more than others."""
    table = pd.concat(_tables(study, settings), ignore_index=True)
    kept_vs_others = kept_vs_others_table(table)
    first = study.labels["variant"].iloc[0]
    drawings = {
        figure_name(f"ablation_{task}", str(variant)): _figure(group, f"{task}, from {variant}")
        for (task, variant), group in table.groupby(["task", "variant"], sort=False)
        if variant == first
    }
    return Section(
        title="Ablation of rows",
        how=(
            "One row of a prompt at a time is dropped, or replaced by its initial row, by the embedding of its nearest "
            "token (raw), or by the vocabulary's mean embedding. The cost is the rise in loss, in nats per answer, on "
            f"{table['examples'].max()} validation examples at most. A kept row is one whose nearest token (raw) is its "
            "initial token. The interval of the difference between kept and other rows resamples runs and rows; it is "
            f"given if there are at least {MINIMUM_ROWS} rows of each kind. In the figures a bar is the mean over runs, a "
            "dot is a run, and a bar is green if the row is kept in more than half of the runs."
        ),
        findings=[*_negligible(table), *_costs(table), *_differences(kept_vs_others)],
        digest=_digest(kept_vs_others),
        drawings=drawings,
        tables={"ablation": table, "kept_vs_others": kept_vs_others},
        names_spaces=True,
    )


def _tables(study: Study, settings: AnalysisSettings) -> Iterator[pd.DataFrame]:
    """One table per run."""
    for task in study.targets:
        indices = list(study.labels.index[study.labels["task"] == task])
        edited = [
            edited_prompts(
                study.prompts[index].matrix,
                study.initial_matrices[index],
                study.backbone.embed(study.nearest[index]),
                study.mean_embedding,
            )
            for index in indices
        ]
        groups = [
            [study.prompts[index].matrix, *of_run.values()]
            for index, of_run in zip(indices, edited, strict=True)
        ]
        answers = study.answers(groups, task, settings.ablation_examples)
        for index, of_run, answer in zip(indices, edited, answers, strict=True):
            unedited = answer.exact_match[0], answer.loss[0]
            table = ablation_table(list(of_run), unedited, answer.exact_match[1:], answer.loss[1:])
            initial, nearest = study.prompts[index].initial_tokens, study.nearest[index]
            table = table.assign(
                initial_token=[study.text_of(initial[row]) for row in table["row"]] if initial else None,
                nearest_token=[study.text_of(nearest[row]) for row in table["row"]],
                kept=[bool(initial) and nearest[row] == initial[row] for row in table["row"]],
                examples=answer.loss.shape[1],
            )
            for column in reversed(("run", "task", "variant", "seed")):
                table.insert(0, column, study.labels[column][index])
            yield table


@rc_context(STYLE)
def _figure(table: pd.DataFrame, title: str) -> Drawing:
    """A line per prompt row, a panel per edit: a dot per run, and a bar for their mean."""
    edits = list(dict.fromkeys(table["edit"]))
    rows = sorted(table["row"].unique())
    figure = Figure(figsize=(1.7 * len(edits) + 1.4, 0.19 * len(rows) + 1.0), layout="constrained")
    drawing = Drawing(figure)
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
        axis.set(title=edit, xlabel="nats per answer")
        axis.xaxis.set_major_locator(MaxNLocator(3))
    tokens = shared_initial_tokens(table)
    labels = [f"{row}  {token_label(tokens[row])}" if row in tokens else str(row) for row in rows]
    axes[0].set(yticks=rows, yticklabels=labels, ylim=(len(rows) - 0.4, -0.6))
    for label in axes[0].get_yticklabels():
        label.set_fontfamily(fonts_for(label.get_text()))
    figure.suptitle(f"{title}: rise in loss by row and edit", x=0.01, ha="left", weight="bold", size=10)
    return drawing


def _negligible(table: pd.DataFrame) -> Iterator[str]:
    """The reference study concludes from a kept token that its row helps."""
    dropped = table[(table["edit"] == "dropped") & table["kept"]]
    if len(dropped):
        share = (dropped["loss_change"].abs() < NEGLIGIBLE).mean()
        yield (
            f"Dropping one row changes the loss by less than {NEGLIGIBLE} nats for {share:.0%} of the kept rows (nearest "
            f"token = initial token){': a kept token does not show that its row helps.' if share > 0.5 else '.'}"
        )


def _costs(table: pd.DataFrame) -> Iterator[str]:
    for variant, group in table[table["edit"] == "dropped"].groupby("variant", sort=False):
        by_row = group.groupby(["task", "row"])["loss_change"].mean()
        largest = by_row.groupby("task").max()
        yield (
            f"Initialised from {variant}, dropping a row raises the loss by {by_row.mean():.2f} nats on average, and "
            f"by {format_range(largest, '.2f')} for the row of each task with the largest rise."
        )


def _differences(kept_vs_others: pd.DataFrame) -> Iterator[str]:
    replaced = kept_vs_others[kept_vs_others["edit"] == "mean embedding"]
    for row in replaced[replaced["low"].notna()].to_dict("records"):
        excludes_zero = row["low"] > 0 or row["high"] < 0
        yield (
            f"{row['task']} from {row['variant']}: replacing a kept row by the mean embedding costs "
            f"{row['kept_loss_change']:.2f} nats, another row {row['other_loss_change']:.2f}; difference "
            f"{row['difference']:+.2f} {format_interval(row['low'], row['high'], '+.2f')}"
            f"{'' if excludes_zero else ', which does not exclude 0'}."
        )


def _digest(kept_vs_others: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "task": row["task"],
                "initialised from": row["variant"],
                "edit": row["edit"],
                "cost of kept rows": f"{row['kept_loss_change']:.3f}" if row["kept_rows"] else "–",
                "cost of other rows": f"{row['other_loss_change']:.3f}" if row["other_rows"] else "–",
                "difference": f"{row['difference']:+.3f} {format_interval(row['low'], row['high'], '+.3f')}"
                if row["low"] == row["low"]
                else "too few rows of one kind",
            }
            for row in kept_vs_others[kept_vs_others["edit"].isin(("dropped", "mean embedding"))].to_dict(
                "records"
            )
        ]
    )
