"""Ablation of rows: one row at a time is dropped or replaced."""

from collections.abc import Iterator

import pandas as pd

from softprompt.analysis.ablation import (
    MINIMUM_ROWS,
    NEGLIGIBLE,
    ablation_table,
    edited_prompts,
    kept_vs_others_table,
    without_negligible_rows,
)
from softprompt.report.ablation_claim import ablation_claim
from softprompt.report.ablation_figure import ablation_figure
from softprompt.report.formatting import figure_name, format_interval, format_range
from softprompt.report.registry import Section, section
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


@section(place=40, needs_list=True)
def ablation(study: Study, settings: AnalysisSettings) -> Section:
    """The change in loss for every edit of every row, and whether kept rows matter more than others."""
    table = pd.concat(_tables(study, settings), ignore_index=True)
    kept_vs_others = kept_vs_others_table(table)
    together = pd.DataFrame(_together(study, settings, table))
    first = table[table["variant"] == study.labels["variant"].iloc[0]]
    low, high = min(0.0, float(first["loss_change"].min())), max(0.0, float(first["loss_change"].max()))
    margin = 0.05 * (high - low or 1.0)
    limits = (low - margin, high + margin)
    drawings = {
        figure_name(f"ablation_{task}", str(variant)): ablation_figure(
            group, f"{task}, from {variant}", limits
        )
        for (task, variant), group in first.groupby(["task", "variant"], sort=False)
    }
    return Section(
        title="Ablation of rows",
        how=(
            "One row of a prompt at a time is dropped, or replaced by its initial row, by the embedding of its nearest "
            "token (raw), or by the vocabulary's mean embedding. The cost is the rise in loss, in nats per answer, on "
            f"{table['examples'].max()} validation examples at most. A kept row is one whose nearest token (raw) is its "
            "initial token. The interval of the difference between kept and other rows resamples runs and rows; it is "
            f"given if there are at least {MINIMUM_ROWS} rows of each kind. One row at a time does not tell which rows are "
            f"needed, because several rows may do the same work: so all rows that cost less than {NEGLIGIBLE} nats one at a "
            "time are dropped together, too, on the same examples. They are chosen on these examples, so that the loss is, "
            "if anything, understated."
        ),
        findings=[*_single_rows(table, together), *_costs(table), *_differences(kept_vs_others)],
        claims=list(ablation_claim(table, kept_vs_others, together)),
        digest=_digest(kept_vs_others, together),
        drawings=drawings,
        tables={"ablation": table, "kept_vs_others": kept_vs_others, "dropped_together": together},
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


def _together(study: Study, settings: AnalysisSettings, table: pd.DataFrame) -> Iterator[dict[str, object]]:
    """One line per run: what is left without all rows that have a negligible cost one at a time."""
    dropped = table[table["edit"] == "dropped"].set_index(["task", "run"]).sort_index()
    for task in study.targets:
        indices = list(study.labels.index[study.labels["task"] == task])
        of_runs = [dropped.loc[[(task, study.labels["run"][index])]] for index in indices]
        groups = [
            [study.prompts[index].matrix, without_negligible_rows(study.prompts[index].matrix, of_run)]
            for index, of_run in zip(indices, of_runs, strict=True)
        ]
        answers = study.answers(groups, task, settings.ablation_examples)
        for index, of_run, answer in zip(indices, of_runs, answers, strict=True):
            negligible = of_run["loss_change"] < NEGLIGIBLE
            yield {
                **{name: study.labels[name][index] for name in ("run", "task", "variant", "seed")},
                "rows": len(of_run),
                "kept_rows": int(of_run["kept"].sum()),
                "dropped_rows": int(negligible.sum()),
                "dropped_kept_rows": int((negligible & of_run["kept"]).sum()),
                "loss_change": float((answer.loss[1] - answer.loss[0]).mean()),
                "exact_match": float(answer.exact_match[0].mean()),
                "exact_match_left": float(answer.exact_match[1].mean()),
                "examples": answer.loss.shape[1],
            }


def _single_rows(table: pd.DataFrame, together: pd.DataFrame) -> Iterator[str]:
    dropped = table[table["edit"] == "dropped"]
    for variant, group in together.groupby("variant", sort=False):
        single = dropped[dropped["variant"] == variant]
        yield (
            f"Initialised from {variant}, {(single['loss_change'] < NEGLIGIBLE).mean():.0%} of the rows cost less than "
            f"{NEGLIGIBLE} nats each, while all other rows stay. This shows that rows can stand in for one another, not which "
            f"are needed: without all of these rows the exact match is {group['exact_match_left'].mean():.0%} instead of "
            f"{group['exact_match'].mean():.0%}. How many rows can be dropped together, pruning tells."
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


def _digest(kept_vs_others: pd.DataFrame, together: pd.DataFrame) -> pd.DataFrame:
    """One line per task and variant: rows dropped one at a time, and together."""
    lines = []
    for row in kept_vs_others[kept_vs_others["edit"] == "dropped"].to_dict("records"):
        runs = together[(together["task"] == row["task"]) & (together["variant"] == row["variant"])]
        lines.append(
            {
                "task": row["task"],
                "initialised from": row["variant"],
                "cost of a kept row": f"{row['kept_loss_change']:.3f}" if row["kept_rows"] else "–",
                "cost of another row": f"{row['other_loss_change']:.3f}" if row["other_rows"] else "–",
                "difference": f"{row['difference']:+.3f} {format_interval(row['low'], row['high'], '+.3f')}"
                if row["low"] == row["low"]
                else "too few rows of one kind",
                f"rows below {NEGLIGIBLE} nats": f"{runs['dropped_rows'].sum()} of {runs['rows'].sum()}",
                "cost of these together": f"{runs['loss_change'].mean():.2f}",
                "exact match without these": f"{runs['exact_match_left'].mean():.0%} "
                f"(whole {runs['exact_match'].mean():.0%})",
            }
        )
    return pd.DataFrame(lines)
