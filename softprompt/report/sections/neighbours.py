"""What the prompts read as: the vocabulary's tokens nearest to every row."""

from collections.abc import Iterator

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.neighbours import kept_table, nearest_tokens, neighbour_table
from softprompt.report.figures import neighbours as neighbours_figure
from softprompt.report.sections import Section, figure_name, spread
from softprompt.settings import AnalysisSettings
from softprompt.study import Space, Study

SPACES: tuple[Space, ...] = ("raw", "model input, centred")
CHANCE = "random vectors"


def neighbours(study: Study, settings: AnalysisSettings) -> Section:
    """Nearest tokens of every row of every prompt, of what it started from, and of random vectors; in both spaces."""
    table = pd.concat([_in_space(study, space, settings) for space in SPACES], ignore_index=True)
    raw = table[table["space"] == "raw"]
    tuned = raw[raw["prompt"] == "tuned"]
    kept = kept_table(tuned)
    drawings = {}
    for (task, variant), own in tuned.groupby(["task", "variant"], sort=False):
        beside = raw[(raw["prompt"] == CHANCE) & (raw["task"] == task)]
        shown = pd.concat([own, beside.assign(started_as=None)])
        title = f"{task}, from {variant}: nearest tokens of each row"
        drawings[figure_name(f"neighbours_{task}", str(variant))] = neighbours_figure(shown, title)
    return Section(
        "What the rows are near to",
        "The vocabulary tokens whose embeddings make the smallest angle with a row. Green: a token that the prompt "
        f"started from; brown: a word of the lexicon ({', '.join(settings.lexicon[:4])}, …). The last column shows what "
        "random vectors are near to: what chance looks like. Raw is the space that prompts are stored in; as read, what "
        "the model's first block meets (in BLOOM, after a LayerNorm), less the vocabulary's mean.",
        [*_kept(kept), *_nearness(raw), *_named(raw)],
        _digest(raw, kept),
        drawings,
        {"kept": kept, "neighbours": table},
    )


def _in_space(study: Study, space: Space, settings: AnalysisSettings) -> pd.DataFrame:
    """The neighbours of all prompts in one go through the vocabulary, which may be long."""
    entries: list[tuple[dict[str, object], Float[Tensor, "_ d"], Float[Tensor, "_ d"], list[int]]] = []
    generator = torch.Generator().manual_seed(0)
    scale = study.backbone.embedding_scale()
    chance_for = set()
    for index, (prompt, start) in enumerate(zip(study.prompts, study.starts, strict=True)):
        label = dict(study.labels.iloc[index])
        tokens = prompt.initial_tokens
        entries.append(({**label, "prompt": "tuned"}, prompt.matrix, start, tokens))
        entries.append(({**label, "prompt": "start"}, start, start, tokens))
        if prompt.task not in chance_for:
            chance_for.add(prompt.task)
            noise = torch.randn(prompt.matrix.shape, generator=generator) * scale
            label = {"run": CHANCE, "task": prompt.task, "variant": "", "seed": 0, "prompt": CHANCE}
            entries.append((label, noise, noise, []))
    sizes = [len(matrix) for _, matrix, _, _ in entries]
    rows = study.in_space(torch.cat([matrix for _, matrix, _, _ in entries]), space)
    starts = study.in_space(torch.cat([start for _, _, start, _ in entries]), space)
    moved = torch.split((rows - starts).norm(dim=1), sizes)
    ids, cosines = nearest_tokens(rows, study.vocabulary(space), settings.neighbours)
    lexicon = {word.casefold() for word in settings.lexicon}
    tables = []
    for (label, _, _, tokens), own_ids, own_cosines, own_moved in zip(
        entries, torch.split(ids, sizes), torch.split(cosines, sizes), moved, strict=True
    ):
        found = neighbour_table(own_ids, own_cosines, tokens, study.text_of)
        tables.append(
            pd.DataFrame({name: [value] * len(found) for name, value in label.items()}).join(
                found.assign(
                    moved=[float(own_moved[row]) for row in found["row"]],
                    of_start=found["token_id"].isin(tokens),
                    in_lexicon=[token.strip().casefold() in lexicon for token in found["token"]],
                    space=space,
                )
            )
        )
    return pd.concat(tables, ignore_index=True)


def _kept(kept: pd.DataFrame) -> Iterator[str]:
    for variant, own in kept.groupby("variant", sort=False):
        yield (
            f"Of the rows that started from {variant!s}, "
            f"{own['kept_by_all'].sum()} of {own['rows'].sum()} still have their own token as the nearest in every run "
            f"({spread(own['kept'])} by task, over all runs)."
        )


def _nearness(raw: pd.DataFrame) -> Iterator[str]:
    first = raw[raw["rank"] == 1]
    chance = first[first["prompt"] == CHANCE]["cosine"].mean()
    parts = [
        f"{own[own['prompt'] == 'tuned']['cosine'].mean():.2f} from {variant} "
        f"(before tuning {own[own['prompt'] == 'start']['cosine'].mean():.2f})"
        for variant, own in first[first["prompt"] != CHANCE].groupby("variant", sort=False)
    ]
    yield f"Mean cosine of a row with its nearest token: {', '.join(parts)}; of random vectors {chance:.2f}."


def _named(raw: pd.DataFrame) -> Iterator[str]:
    tuned = raw[(raw["prompt"] == "tuned") & raw["in_lexicon"] & ~raw["of_start"]]
    if len(tuned):
        words = ", ".join(f"“{word.strip()}”" for word in tuned["token"].value_counts().index[:5])
        yield (
            f"Words of the lexicon that they did not start from are among the neighbours of {tuned['run'].nunique()} "
            f"runs: {words}."
        )


def _digest(raw: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    stayed = {(row["task"], row["variant"]): row for row in kept.to_dict("records")}
    rows = []
    for (task, variant), own in raw[raw["prompt"] == "tuned"].groupby(["task", "variant"], sort=False):
        first = own[own["rank"] == 1]
        found = stayed.get((task, variant))
        rows.append(
            {
                "task": task,
                "from": variant,
                "rows kept in every run": f"{found['kept_by_all']} of {found['rows']}" if found else "–",
                "they are": found["which"] if found else "–",
                "mean cosine": f"{first['cosine'].mean():.2f}",
                "mean distance moved": f"{first['moved'].mean():.2f}",
            }
        )
    return pd.DataFrame(rows)
