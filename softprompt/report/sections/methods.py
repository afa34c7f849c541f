"""Section: methods side by side, by score, cost, transfer, and the words that discrete prompts are made of."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.analysis.method_pairs import method_pairs_table
from softprompt.analysis.scores import steps_to_level_table
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.formatting import format_bytes, format_interval, format_range
from softprompt.report.method_runs import pair_findings, trained_runs
from softprompt.report.method_texts import prompt_texts, text_findings, word_findings, word_table
from softprompt.report.registry import Section, section
from softprompt.report.sections.scores import score_tables
from softprompt.report.style import FAINT, colour_of
from softprompt.report.transfer_grid import RANK_ACCURACY, transfer_grid
from softprompt.settings import AnalysisSettings
from softprompt.study import METHODS, Study

PANELS_ACROSS = 4  # in the figure
# Columns of memory by their key in a result. Results of earlier versions have none.
MEMORY = {"memory in front": "keys_and_values", "training memory": "training", "peak memory": "peak"}


@section(place=15, needs_rows=False)
def methods(study: Study, settings: AnalysisSettings) -> Section | None:
    """Scores, trainable parameters, memory, steps and seconds to a level, transfer, and texts, by method."""
    parts = [part for part in (study, study.prefix_study) if part is not None]
    methods = {run.settings.method.name for part in parts for run in part.runs}
    if len(methods) < 2:
        return None
    table = _table(parts)
    pairs = method_pairs_table(trained_runs(parts, dict(zip(table["task"], table["level"], strict=True))))
    texts = prompt_texts(study)
    words = word_table(study)
    return Section(
        title="Methods side by side",
        how=(
            "What stands in front of the text is trained in several ways: the rows of a prompt (prompt tuning, Lester et al. "
            "2021), rows and a network added to them (residual prompt tuning, Razdaibiedina et al. 2023), the keys and values of "
            "every layer (prefix tuning, Li and Liang 2021), or tokens, by a search (AutoPrompt, "
            "Shin et al. 2020) or by projection of rows (PEZ, Wen et al. 2023). Scores and their intervals are those of the "
            "section on scores. Level: 95% of the best exact match of any run of the task; steps and seconds until then "
            "are medians over runs, and the seconds contain the evaluations. A step of the search costs a forward for every token "
            "that it tries. Parameters: numbers that are trained; of the search, tokens that are chosen. Memory in front: of the "
            "keys and values that stand in front of a text, in all layers. Training memory: of what is trained, its gradient "
            "and the optimiser's state, without activations. Peak memory: the most memory of a step beyond the model's weights, where a "
            "run trained alone on a GPU. Transfer: change in rank accuracy over no prompt on the other tasks, mean over the "
            "pairs; pairs that gain or lose after correction (Holm 1979)."
        ),
        findings=[*_findings(table), *pair_findings(pairs), *word_findings(words), *text_findings(texts)],
        digest=_digest(table),
        drawings={"methods": _figure(table)},
        tables={"methods": table, "methods_pairs": pairs, "methods_texts": texts, "methods_words": words},
    )


def _table(parts: list[Study]) -> pd.DataFrame:
    """One line per task and variant: what the digest shows, as numbers."""
    tasks = pd.concat([score_tables(part)[1] for part in parts], ignore_index=True)
    steps = steps_to_level_table(pd.concat([part.learning_curves for part in parts], ignore_index=True))
    runs = pd.DataFrame(
        [
            {**{name: label[name] for name in ("task", "variant")}, "method": run.settings.method.name}
            | {"parameters": result.get("parameters")}
            | {f"{name}_bytes": result.get("memory", {}).get(name) for name in MEMORY.values()}
            for part in parts
            for run, result, label in zip(
                part.runs, part.results, part.labels.to_dict("records"), strict=True
            )
        ]
    ).astype({f"{name}_bytes": float for name in MEMORY.values()})
    transfers = pd.concat([_transfers(part) for part in parts], ignore_index=True)
    keys = ["task", "variant"]
    reached = steps[[*keys, "level", "runs_at_level", "median_steps_to_level", "median_seconds_to_level"]]
    table = (
        tasks.merge(runs.groupby(keys).max(), on=keys)
        .merge(reached, on=keys)
        .merge(transfers, on=keys, how="left")
    )
    order = list(dict.fromkeys(table["task"]))
    places = [
        (order.index(task), METHODS.index(method))
        for task, method in zip(table["task"], table["method"], strict=True)
    ]
    return table.iloc[sorted(range(len(table)), key=places.__getitem__)].reset_index(drop=True)


def _transfers(study: Study) -> pd.DataFrame:
    """By source task and variant, what the prompts change on the other tasks, in points of rank accuracy.

    Empty if a task's answers are free text, which has no rank accuracy.
    """
    columns = ["task", "variant", "transfer", "pairs", "pairs_gain", "pairs_lose"]
    if study.free_text_tasks:
        return pd.DataFrame(columns=columns)
    grid = transfer_grid(study)
    others = grid[(grid["score"] == RANK_ACCURACY) & (grid["source"] != grid["target"])]
    lines = [
        {
            "task": task,
            "variant": variant,
            "transfer": group["gain"].mean(),
            "pairs": len(group),
            "pairs_gain": int((group["remains"] & (group["gain"] > 0)).sum()),
            "pairs_lose": int((group["remains"] & (group["gain"] < 0)).sum()),
        }
        for (task, variant), group in others.groupby(["source", "variant"], sort=False)
    ]
    return pd.DataFrame(lines, columns=columns)


def _findings(table: pd.DataFrame) -> Iterator[str]:
    ranges = "; ".join(
        f"{method} {format_range(group['tuned'], '.1%')}"
        for method, group in table.groupby("method", sort=False)
    )
    yield f"Exact match, means from the lowest to the highest of tasks and starts: {ranges}."


def _digest(table: pd.DataFrame) -> pd.DataFrame:
    digest = pd.DataFrame(
        [
            {
                "task": row["task"],
                "initialised from, method": row["variant"],
                "exact match": f"{row['tuned']:.1%}",
                "95% interval": format_interval(100 * row["low"], 100 * row["high"], ".0f"),
                "parameters": f"{row['parameters']:,.0f}",
                **{name: format_bytes(row[f"{key}_bytes"]) for name, key in MEMORY.items()},
                "steps to level": _cost(row["median_steps_to_level"], ".0f"),
                "seconds to level": _cost(row["median_seconds_to_level"], ".1f"),
                "runs at level": f"{row['runs_at_level']} of {row['runs']}",
                "transfer": f"{row['transfer']:+z.1f}" if row["pairs"] > 0 else "–",
                "gain, lose": f"{row['pairs_gain']}, {row['pairs_lose']} of {row['pairs']:.0f}"
                if row["pairs"] > 0
                else "–",
                "n": row["n"],
            }
            for row in table.astype({"pairs_gain": "Int64", "pairs_lose": "Int64"}).to_dict("records")
        ]
    )
    unknown = [name for name, key in MEMORY.items() if table[f"{key}_bytes"].isna().all()]
    return digest.drop(columns=unknown)


def _cost(value: float, spec: str) -> str:
    return f"{value:{spec}}" if np.isfinite(value) else "not reached"


@rc_context(STYLE)
def _figure(table: pd.DataFrame) -> Drawing:
    """A panel per task: exact match of every variant with its interval, the instruction dashed and no prompt dotted."""
    tasks, variants = (list(dict.fromkeys(table[name])) for name in ("task", "variant"))
    columns = min(len(tasks), PANELS_ACROSS)
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(2.3 * columns + 1.2, rows * (0.24 * len(variants) + 0.9)), layout="constrained")
    by_score = table.sort_values("tuned", kind="stable")
    least, best = by_score.iloc[0], by_score.iloc[-1]
    drawing = Drawing(
        figure,
        caption=(
            "Exact match by method with its 95% interval, the instruction dashed and no prompt dotted. The highest is "
            f"{best['tuned']:.0%} ({best['variant']}, on {best['task']}), the lowest {least['tuned']:.0%} "
            f"({least['variant']}, on {least['task']})."
        ),
    )
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colours = colour_of(list(table["method"]))
    for axis, task in zip(panels.flat, tasks, strict=False):
        of_task = table[table["task"] == task]
        axis.axvline(of_task["instruction"].iloc[0], color=FAINT, ls="--", lw=1)
        axis.axvline(of_task["no_prompt"].iloc[0], color=FAINT, ls=":", lw=1)
        for row in of_task.to_dict("records"):
            y, colour = variants.index(row["variant"]), colours[row["method"]]
            axis.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.4)
            (mark,) = axis.plot(row["tuned"], y, "o", color=colour, ms=5)
            drawing.tip(
                mark,
                f"{task}, {row['variant']}: {row['tuned']:.1%} {format_interval(100 * row['low'], 100 * row['high'], '.0f')}",
            )
        axis.set(title=task, xlim=(-0.02, 1.04))
    for axis in panels.flat[len(tasks) :]:
        axis.set_axis_off()
    for axis in panels[:, 0]:
        axis.set(yticks=range(len(variants)), yticklabels=variants, ylim=(len(variants) - 0.5, -0.5))
    for axis in panels[-1]:
        axis.set_xlabel("exact match")
    return drawing
