"""The vocabulary tokens nearest to every row of every prompt."""

from collections.abc import Iterator

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor

from softprompt.analysis.neighbours import kept_rows_table, nearest_tokens, neighbour_table
from softprompt.report.drawing import STYLE, Drawing, fonts_for
from softprompt.report.formatting import figure_name, format_range
from softprompt.report.registry import Section, section
from softprompt.report.style import FAINT, IN_LEXICON, INK, KEPT, shared_initial_tokens, token_label
from softprompt.settings import AnalysisSettings
from softprompt.study import CENTRED_SPACES, Space, Study

CHANCE = "random vectors"

# Of the figure, in inches.
TOKEN_WIDTH, TOKEN_HEIGHT, INITIAL_WIDTH, NUMBER_WIDTH = 1.35, 0.2, 1.6, 0.4


@section(place=20)
def neighbours(study: Study, settings: AnalysisSettings) -> Section:
    """Nearest tokens of the rows of tuned prompts, initial prompts and random vectors, in two spaces."""
    table = pd.concat([_neighbours_in(study, space, settings) for space in CENTRED_SPACES], ignore_index=True)
    raw = table[table["space"] == "raw"]
    tuned = raw[raw["prompt"] == "tuned"]
    kept = kept_rows_table(tuned)
    drawings = {}
    for (task, variant), group in tuned.groupby(["task", "variant"], sort=False):
        chance = raw[(raw["prompt"] == CHANCE) & (raw["task"] == task)]
        shown = pd.concat([group, chance.assign(initial_token=None)])
        title = f"{task}, from {variant}: nearest tokens of each row (raw)"
        drawings[figure_name(f"neighbours_{task}", str(variant))] = figure_of(shown, title)
    return Section(
        title="Nearest tokens",
        how=(
            "For every row, the vocabulary tokens whose embeddings have the highest cosine with it. Green: one of the "
            f"prompt's own initial tokens; brown: a word of the lexicon ({', '.join(settings.lexicon[:4])}, …). The last "
            "column of a figure shows the nearest tokens of random vectors, for comparison with chance. Figures, findings "
            "and the table above are in the raw space; neighbours.csv has the model input, centred, too."
        ),
        findings=[*_kept(kept), *_cosines(raw), *_lexicon_words(raw)],
        digest=_digest(raw, kept),
        drawings=drawings,
        tables={"kept_rows": kept, "neighbours": table},
        names_spaces=True,
    )


def _neighbours_in(study: Study, space: Space, settings: AnalysisSettings) -> pd.DataFrame:
    """The nearest tokens of all prompts in a space, in one pass over the vocabulary, which may be large."""
    entries: list[tuple[dict[str, object], Float[Tensor, "_ d"], Float[Tensor, "_ d"], list[int]]] = []
    generator = torch.Generator().manual_seed(0)
    scale = study.backbone.embedding_scale()
    tasks_with_chance = set()
    for index, (prompt, initial) in enumerate(zip(study.prompts, study.initial_matrices, strict=True)):
        label = dict(study.labels.iloc[index])
        tokens = prompt.initial_tokens
        entries.append(({**label, "prompt": "tuned"}, prompt.matrix, initial, tokens))
        entries.append(({**label, "prompt": "initial"}, initial, initial, tokens))
        if prompt.task not in tasks_with_chance:
            tasks_with_chance.add(prompt.task)
            noise = torch.randn(prompt.matrix.shape, generator=generator) * scale
            label = {"run": CHANCE, "task": prompt.task, "variant": "", "seed": 0, "prompt": CHANCE}
            entries.append((label, noise, noise, []))
    sizes = [len(matrix) for _, matrix, _, _ in entries]
    rows = study.in_space(torch.cat([matrix for _, matrix, _, _ in entries]), space)  # [rows of all, d]
    initial_rows = study.in_space(torch.cat([initial for _, _, initial, _ in entries]), space)
    distances = torch.split((rows - initial_rows).norm(dim=1), sizes)
    ids, cosines = nearest_tokens(rows, study.vocabulary(space), settings.neighbours)  # [rows of all, k] each
    lexicon = {word.casefold() for word in settings.lexicon}
    tables = []
    for (label, _, _, tokens), entry_ids, entry_cosines, distance in zip(
        entries, torch.split(ids, sizes), torch.split(cosines, sizes), distances, strict=True
    ):
        table = neighbour_table(entry_ids, entry_cosines, tokens, study.text_of)
        tables.append(
            pd.DataFrame({name: [value] * len(table) for name, value in label.items()}).join(
                table.assign(
                    distance_from_initial=[float(distance[row]) for row in table["row"]],
                    among_initial_tokens=table["token_id"].isin(tokens),
                    in_lexicon=[token.strip().casefold() in lexicon for token in table["token"]],
                    space=space,
                )
            )
        )
    return pd.concat(tables, ignore_index=True)


@rc_context(STYLE)
def figure_of(table: pd.DataFrame, title: str) -> Drawing:
    """A line per prompt row, a column per run: the nearest tokens; initial tokens and the lexicon coloured."""
    runs = list(dict.fromkeys(table["run"]))
    rows = sorted(table["row"].unique())
    ranks = sorted(table["rank"].unique())
    initial_tokens = shared_initial_tokens(table)
    has_initial = len(initial_tokens) == len(rows)
    run_width = TOKEN_WIDTH * len(ranks) + 0.15
    left = INITIAL_WIDTH * has_initial + NUMBER_WIDTH
    figure = Figure(figsize=(run_width * len(runs) + left, TOKEN_HEIGHT * len(rows) + 0.8))
    drawing = Drawing(figure, wide=True)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set(xlim=(0, left + run_width * len(runs)), ylim=(len(rows) + 0.2, -3))
    axis.text(0, -2.4, title, weight="bold", size=10)
    if has_initial:
        axis.text(0.35, -1, "initial token", color=FAINT)
        for row, token in initial_tokens.items():
            label = token_label(token)
            axis.text(0.35, rows.index(row), label, color=FAINT, family=fonts_for(label))
    for column, run in enumerate(runs):
        axis.text(left + run_width * column, -1, run, color=FAINT)
    for line in table.to_dict("records"):
        y = rows.index(line["row"])
        x = left + run_width * runs.index(line["run"]) + TOKEN_WIDTH * ranks.index(line["rank"])
        colour = KEPT if line["among_initial_tokens"] else IN_LEXICON if line["in_lexicon"] else INK
        label = token_label(line["token"])
        weight = "bold" if colour != INK else "normal"
        text = axis.text(x, y, label, color=colour, weight=weight, family=fonts_for(label))
        drawing.tip(
            text, f"row {line['row']}, rank {line['rank']}: {line['token']!r}, cosine {line['cosine']:.3f}"
        )
        if line["rank"] == 1:
            axis.text(0, y, str(line["row"]), color=FAINT)
    return drawing


def _kept(kept: pd.DataFrame) -> Iterator[str]:
    for variant, group in kept.groupby("variant", sort=False):
        yield (
            f"Of the rows initialised from {variant!s}, {group['kept_in_every_run'].sum()} of {group['rows'].sum()} have "
            f"their initial token as the nearest token (raw) in every run; over all runs, "
            f"{format_range(group['kept_share'])} of a task's rows."
        )


def _cosines(raw: pd.DataFrame) -> Iterator[str]:
    nearest = raw[raw["rank"] == 1]
    chance = nearest[nearest["prompt"] == CHANCE]["cosine"].mean()
    parts = [
        f"{group[group['prompt'] == 'tuned']['cosine'].mean():.2f} from {variant} "
        f"(before tuning {group[group['prompt'] == 'initial']['cosine'].mean():.2f})"
        for variant, group in nearest[nearest["prompt"] != CHANCE].groupby("variant", sort=False)
    ]
    yield f"Mean cosine of a row and its nearest token (raw): {', '.join(parts)}; of random vectors {chance:.2f}."


def _lexicon_words(raw: pd.DataFrame) -> Iterator[str]:
    tuned = raw[(raw["prompt"] == "tuned") & raw["in_lexicon"] & ~raw["among_initial_tokens"]]
    if len(tuned):
        words = ", ".join(f"“{word.strip()}”" for word in tuned["token"].value_counts().index[:5])
        yield (
            f"Words of the lexicon that are not initial tokens are among the nearest tokens (raw) of "
            f"{tuned['run'].nunique()} runs: {words}."
        )


def _digest(raw: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    kept_of = {(row["task"], row["variant"]): row for row in kept.to_dict("records")}
    lines = []
    for (task, variant), group in raw[raw["prompt"] == "tuned"].groupby(["task", "variant"], sort=False):
        nearest = group[group["rank"] == 1]
        of_group = kept_of.get((task, variant))
        lines.append(
            {
                "task": task,
                "initialised from": variant,
                "rows kept in every run": f"{of_group['kept_in_every_run']} of {of_group['rows']}"
                if of_group
                else "–",
                "kept tokens": of_group["kept_tokens"] if of_group else "–",
                "mean cosine (raw)": f"{nearest['cosine'].mean():.2f}",
                "mean distance from initial row (raw)": f"{nearest['distance_from_initial'].mean():.2f}",
            }
        )
    return pd.DataFrame(lines)
