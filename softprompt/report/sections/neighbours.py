"""The vocabulary tokens nearest to every row of every prompt."""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.displacement import random_step
from softprompt.analysis.neighbours import (
    kept_rows_table,
    kept_shares,
    lexicon_counts,
    nearest_tokens,
    neighbour_table,
)
from softprompt.analysis.random_prompts import named_generator
from softprompt.report.drawing import Drawing
from softprompt.report.formatting import figure_name, format_range
from softprompt.report.neighbour_claims import (
    INITIAL,
    RANDOM_STEP,
    RANDOM_VECTORS,
    TUNED,
    kept_claim,
    lexicon_claim,
)
from softprompt.report.neighbour_figure import neighbour_figure
from softprompt.report.registry import Section, section
from softprompt.settings import AnalysisSettings
from softprompt.study import CENTRED_SPACES, Space, Study


@section(place=20)
def neighbours(study: Study, settings: AnalysisSettings) -> Section:
    """Nearest tokens of the rows of tuned prompts, initial prompts and random vectors, in two spaces."""
    table = pd.concat([_neighbours_in(study, space, settings) for space in CENTRED_SPACES], ignore_index=True)
    raw = table[table["space"] == "raw"]
    shares = kept_shares(raw)
    kept = kept_rows_table(raw[raw["prompt"] == TUNED])
    if len(kept):
        after_steps = shares.groupby(["task", "variant"], sort=False)[RANDOM_STEP].mean()
        kept["kept_share_after_random_step"] = [
            after_steps[task, variant] for task, variant in zip(kept["task"], kept["variant"], strict=True)
        ]
    tokens = range(len(study.backbone.tokenizer))
    lexicon_share = sum(_in_lexicon(study.text_of(token), settings) for token in tokens) / len(tokens)
    drawings = dict(_drawings(raw))
    return Section(
        title="Nearest tokens",
        how=(
            "For every row, the vocabulary tokens whose embeddings have the highest cosine with it. For comparison the "
            "nearest tokens of random vectors (normal noise with the standard deviation of the embeddings, drawn "
            "independently of any run's start), and of the initial prompts after a random step: each row moves as far as "
            "tuning moved it, in a random direction. Figures, findings and the first table are in the raw space; "
            "neighbours.csv has the model input, centred, too."
        ),
        findings=[*_kept(kept), *_cosines(raw)],
        claims=[
            *kept_claim(shares, next(iter(drawings))),
            *lexicon_claim(lexicon_counts(raw), settings.lexicon, lexicon_share),
        ],
        digest=_digest(raw, kept),
        drawings=drawings,
        tables={"kept_rows": kept, "neighbours": table},
        names_spaces=True,
    )


def _neighbours_in(study: Study, space: Space, settings: AnalysisSettings) -> pd.DataFrame:
    """The nearest tokens of all prompts in a space, in one pass over the vocabulary, which may be large."""
    entries: list[tuple[dict[str, object], Float[Tensor, "_ d"], Float[Tensor, "_ d"], list[int]]] = []
    scale = study.backbone.embedding_scale
    tasks_with_chance = set()
    for index, (prompt, initial) in enumerate(zip(study.prompts, study.initial_matrices, strict=True)):
        label = dict(study.labels.iloc[index])
        tokens = prompt.initial_tokens
        step = random_step(prompt.matrix, initial, f"random step {prompt.task} {label['run']}")
        for kind, matrix in ((TUNED, prompt.matrix), (INITIAL, initial), (RANDOM_STEP, step)):
            entries.append(({**label, "prompt": kind}, matrix, initial, tokens))
        if prompt.task not in tasks_with_chance:
            tasks_with_chance.add(prompt.task)
            noise = random_vectors(prompt.task, prompt.matrix.shape) * scale
            label = {
                "run": RANDOM_VECTORS,
                "task": prompt.task,
                "variant": "",
                "seed": 0,
                "prompt": RANDOM_VECTORS,
            }
            entries.append((label, noise, noise, []))
    sizes = [len(matrix) for _, matrix, _, _ in entries]
    rows = study.in_space(torch.cat([matrix for _, matrix, _, _ in entries]), space)  # [rows of all, d]
    initial_rows = study.in_space(torch.cat([initial for _, _, initial, _ in entries]), space)
    distances = torch.split((rows - initial_rows).norm(dim=1), sizes)
    ids, cosines = nearest_tokens(rows, study.vocabulary(space), settings.neighbours)  # [rows of all, k] each
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
                    in_lexicon=[_in_lexicon(token, settings) for token in table["token"]],
                    space=space,
                )
            )
        )
    return pd.concat(tables, ignore_index=True)


def random_vectors(task: str, shape: Sequence[int]) -> Float[Tensor, "n d"]:
    """Standard normal noise, the same for every call with the same task; no run starts from it."""
    return torch.randn(*shape, generator=named_generator(f"random vectors {task}"))


def _in_lexicon(token: str, settings: AnalysisSettings) -> bool:
    return token.strip().casefold() in {word.casefold() for word in settings.lexicon}


def _drawings(raw: pd.DataFrame) -> Iterator[tuple[str, Drawing]]:
    """For each task and variant its first run, then for each all runs; random vectors beside them."""
    tuned = raw[raw["prompt"] == TUNED]
    of_variants = {
        (str(task), str(variant)): group
        for (task, variant), group in tuned.groupby(["task", "variant"], sort=False)
    }
    for all_runs in (False, True):
        for (task, variant), group in of_variants.items():
            if all_runs and group["run"].nunique() == 1:
                continue
            shown = group if all_runs else group[group["run"] == group["run"].iloc[0]]
            chance = raw[(raw["prompt"] == RANDOM_VECTORS) & (raw["task"] == task)]
            yield (
                figure_name(f"neighbours_{task}", variant) + "_all_runs" * all_runs,
                neighbour_figure(
                    pd.concat([shown, chance.assign(initial_token=None)]),
                    f"{task}, from {variant}: nearest tokens of each row (raw)",
                    _caption(shown, task, variant),
                    wide=all_runs,
                ),
            )


def _caption(shown: pd.DataFrame, task: str, variant: str) -> str:
    nearest = shown[shown["rank"] == 1]
    runs = nearest["run"].nunique()
    of_runs = "one run" if runs == 1 else f"{runs} runs"
    kept = (
        f"{nearest['kept'].sum()} of {len(nearest)} rows have their initial token as the nearest"
        if nearest["initial_token"].notna().any()
        else f"the mean cosine of a row and its nearest token is {nearest['cosine'].mean():.2f}"
    )
    return (
        f"{task}, {of_runs} from {variant}: {kept}. Green: one of the prompt's own initial tokens; brown: a word of the "
        "lexicon. The last columns are random vectors: what chance looks like."
    )


def _kept(kept: pd.DataFrame) -> Iterator[str]:
    for variant, group in kept.groupby("variant", sort=False):
        yield (
            f"Of the rows initialised from {variant!s}, {group['kept_in_every_run'].sum()} of {group['rows'].sum()} have "
            f"their initial token as the nearest token (raw) in every run; over all runs, "
            f"{format_range(group['kept_share'])} of a task's rows (after a random step of the same length "
            f"{format_range(group['kept_share_after_random_step'])})."
        )


def _cosines(raw: pd.DataFrame) -> Iterator[str]:
    nearest = raw[raw["rank"] == 1]
    chance = nearest[nearest["prompt"] == RANDOM_VECTORS]["cosine"].mean()
    parts = [
        f"{group[group['prompt'] == 'tuned']['cosine'].mean():.2f} from {variant} "
        f"(before tuning {group[group['prompt'] == 'initial']['cosine'].mean():.2f})"
        for variant, group in nearest[nearest["prompt"] != RANDOM_VECTORS].groupby("variant", sort=False)
    ]
    yield f"Mean cosine of a row and its nearest token (raw): {', '.join(parts)}; of random vectors {chance:.2f}."


def _digest(raw: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    kept_of = {(row["task"], row["variant"]): row for row in kept.to_dict("records")}
    lines = []
    for (task, variant), group in raw[raw["prompt"] == TUNED].groupby(["task", "variant"], sort=False):
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
