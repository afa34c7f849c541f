"""Does what stayed matter? Rows changed one at a time, and all rows replaced by their nearest tokens."""

from collections.abc import Iterator

import pandas as pd

from softprompt.analysis.ablation import (
    attribution_table,
    discretised_table,
    edited_prompts,
    kept_against_others,
)
from softprompt.report.figures import attribution as attribution_figure
from softprompt.report.sections import Section, figure_name, interval, spread
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

NO_DIFFERENCE = 0.01  # nats per answer


def attribution(study: Study, settings: AnalysisSettings) -> Section:
    """The cost of changing each row of each prompt."""
    nearest = study.nearest
    tables = []
    for task in study.targets:
        own = list(study.labels.index[study.labels["task"] == task])
        edits = [
            edited_prompts(
                study.prompts[i].matrix,
                study.starts[i],
                study.backbone.embed(nearest[i]),
                study.mean_embedding,
            )
            for i in own
        ]
        groups = [[study.prompts[i].matrix, *changed.values()] for i, changed in zip(own, edits, strict=True)]
        answers = study.answers(groups, task, settings.ablation_examples)
        for i, changed, found in zip(own, edits, answers, strict=True):
            table = attribution_table(
                list(changed), (found.exact_match[0], found.loss[0]), found.exact_match[1:], found.loss[1:]
            )
            tokens = study.prompts[i].initial_tokens
            table = table.assign(
                started_as=[study.text_of(tokens[row]) for row in table["row"]] if tokens else None,
                nearest=[study.text_of(nearest[i][row]) for row in table["row"]],
                kept=[bool(tokens) and nearest[i][row] == tokens[row] for row in table["row"]],
                examples=found.loss.shape[1],
            )
            for column in reversed(("run", "task", "variant", "seed")):
                table.insert(0, column, study.labels[column][i])
            tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    kept = kept_against_others(table)
    drawings = {
        figure_name(f"attribution_{task}", str(variant)): attribution_figure(own, f"{task}, from {variant}")
        for (task, variant), own in table.groupby(["task", "variant"], sort=False)
        if variant == study.labels["variant"].iloc[0]
    }
    return Section(
        "Does what stayed matter?",
        "One row of a prompt is changed at a time: dropped, set back to what it started from, replaced by the embedding "
        "of its nearest token, or by the vocabulary's mean. What it costs is the rise of the loss, in nats per answer, "
        f"on {table['examples'].max()} validation examples at most. Kept rows are those whose nearest token is the one "
        "they started from; their interval resamples runs and rows.",
        [*_idle(table), *_costs(table), *_kept(kept)],
        _digest(kept),
        drawings,
        {"attribution": table, "kept_against_others": kept},
    )


def discretised(study: Study) -> Section:
    """Prompts put back into words."""
    nearest = study.nearest
    answers: dict[str, list[object]] = {
        kind: [None] * len(study.runs) for kind in ("no_prompt", "start", "discretised", "tuned")
    }
    for task in study.targets:
        own = list(study.labels.index[study.labels["task"] == task])
        kinds = {
            "no_prompt": [study.prompts[i].matrix[:0] for i in own],
            "start": [study.starts[i] for i in own],
            "discretised": [study.backbone.embed(nearest[i]) for i in own],
            "tuned": [study.prompts[i].matrix for i in own],
        }
        for kind, matrices in kinds.items():
            for i, found in zip(own, study.answers([[matrix] for matrix in matrices], task), strict=True):
                answers[kind][i] = found.exact_match[0]
    table = discretised_table(study.labels, answers)  # type: ignore[arg-type]
    words = study.labels.assign(words=[study.backbone.tokenizer.decode(tokens) for tokens in nearest])
    return Section(
        "Prompts put back into words",
        "Every row is replaced by the embedding of its nearest token, so that the prompt is a text, and scored on the "
        "whole validation set. The share of the gain over no prompt that is left is no percentage of a whole: a text can "
        "do better than the prompt, or worse than none.",
        list(_left(table)),
        _left_digest(table),
        {},
        {"discretised": table, "words": words},
    )


def _idle(table: pd.DataFrame) -> Iterator[str]:
    """The reference study concludes from its staying that a token helps."""
    dropped = table[(table["edit"] == "dropped") & table["kept"]]
    if len(dropped):
        idle = (dropped["loss_change"].abs() < NO_DIFFERENCE).mean()
        yield (
            f"Of the rows whose nearest token is still the one they started from, {idle:.0%} can be dropped and change the "
            f"loss by less than {NO_DIFFERENCE} nats"
            f"{': that a token stayed does not show that it helps.' if idle > 0.5 else '.'}"
        )


def _costs(table: pd.DataFrame) -> Iterator[str]:
    for variant, own in table[table["edit"] == "dropped"].groupby("variant", sort=False):
        by_row = own.groupby(["task", "row"])["loss_change"].mean()
        worst = by_row.groupby("task").max()
        yield (
            f"From {variant}, dropping a row raises the loss by {by_row.mean():.2f} nats on average, and by "
            f"{spread(worst, '.2f')} for the row that matters most in each task."
        )


def _kept(kept: pd.DataFrame) -> Iterator[str]:
    shown = kept[kept["edit"] == "mean embedding"]
    compared = shown[shown["low"].notna()]
    for row in compared.to_dict("records"):
        sure = row["low"] > 0 or row["high"] < 0
        yield (
            f"{row['task']} from {row['variant']}: replacing a kept row by the mean costs {row['kept']:.2f} nats, another "
            f"row {row['others']:.2f}; difference {row['difference']:+.2f} "
            f"{interval(row['low'], row['high'], '+.2f')}{'' if sure else ': not shown to differ'}."
        )


def _digest(kept: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "task": row["task"],
                "from": row["variant"],
                "row is": row["edit"],
                "kept rows cost": f"{row['kept']:.3f}" if row["kept_rows"] else "–",
                "other rows cost": f"{row['others']:.3f}" if row["other_rows"] else "–",
                "difference": f"{row['difference']:+.3f} {interval(row['low'], row['high'], '+.3f')}"
                if row["low"] == row["low"]
                else "too few of one kind",
            }
            for row in kept[kept["edit"].isin(("dropped", "mean embedding"))].to_dict("records")
        ]
    )


def _left(table: pd.DataFrame) -> Iterator[str]:
    for variant, own in table.groupby("variant", sort=False):
        yield (
            f"From {variant}, the nearest tokens in a prompt's place score {spread(own['discretised'], '.1%')}, the prompts "
            f"{spread(own['tuned'], '.1%')}, what they started from {spread(own['start'], '.1%')}, no prompt "
            f"{spread(own['no_prompt'], '.1%')}."
        )


def _left_digest(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "task": row["task"],
                "from": row["variant"],
                **{
                    kind.replace("_", " "): f"{row[kind]:.1%}"
                    for kind in ("no_prompt", "start", "discretised", "tuned")
                },
                "left of the gain": f"{row['share_of_gain']:.0%} {interval(100 * row['low'], 100 * row['high'], '.0f')}"
                if row["share_of_gain"] == row["share_of_gain"]
                else "no sure gain",
            }
            for row in table.to_dict("records")
        ]
    )
