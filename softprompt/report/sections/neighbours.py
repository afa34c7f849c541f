"""What the prompts read as: the vocabulary's tokens nearest to every row, and how far to trust that."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.calibration import precision_against_truth
from softprompt.analysis.neighbours import kept_table, nearest_tokens, neighbour_table
from softprompt.backbone import local_folder
from softprompt.files import read_json
from softprompt.report.figures import neighbours as neighbours_figure
from softprompt.report.sections import Section
from softprompt.report.study import Study
from softprompt.settings import AnalysisSettings

SPACES = ("raw", "as read")


def neighbours(study: Study, settings: AnalysisSettings) -> Section:
    """Nearest tokens of every row of every prompt, in both spaces."""
    table = pd.concat(
        [_of_run(study, index, space, settings) for space in SPACES for index in range(len(study.runs))],
        ignore_index=True,
    )
    kept = kept_table(table[table["space"] == "raw"])
    drawings = {}
    for (task, init), own in table[table["space"] == "raw"].groupby(["task", "init"], sort=False):
        name = f"neighbours_{task}" if init == "text" else f"neighbours_{task}_{init}"
        drawings[name] = neighbours_figure(own, f"{task}, from {init}: nearest tokens of each row")
    return Section(
        "What the rows are near to",
        "The vocabulary tokens whose embeddings make the smallest angle with a row. Green: a token that the prompt "
        f"started from; brown: a word of the lexicon ({', '.join(settings.lexicon[:4])}, ...). Raw is the space that "
        "prompts are stored in; as read, what the model's first block meets (in BLOOM, after a LayerNorm), each set "
        "of rows centred on the vocabulary's mean.",
        list(_kept(kept)),
        drawings,
        {"kept": kept, "neighbours": table},
    )


def _of_run(study: Study, index: int, space: str, settings: AnalysisSettings) -> pd.DataFrame:
    prompt = study.prompts[index]
    rows, vocabulary = in_space(study, prompt.matrix, space)
    start, _ = in_space(study, study.starts[index], space)
    table = neighbour_table(rows, prompt.initial_tokens, vocabulary, study.text_of, settings.neighbours)
    moved = (rows - start).norm(dim=1).tolist()
    lexicon = {word.casefold() for word in settings.lexicon}
    table = table.assign(
        moved=[moved[row] for row in table["row"]],
        kept=table["token_id"].isin(prompt.initial_tokens),
        in_lexicon=[token.strip().casefold() in lexicon for token in table["token"]],
        space=space,
    )
    label = study.labels.iloc[index]
    for column in reversed(("run", "task", "init", "seed")):
        table.insert(0, column, label[column])
    return table


def in_space(
    study: Study, rows: Float[Tensor, "n d"], space: str
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "V d"]]:
    """Rows and vocabulary, raw, or as the model reads them less the vocabulary's mean."""
    vocabulary = study.vocabulary(space)
    if space == "raw":
        return rows, vocabulary
    mean = vocabulary.mean(0)
    return study.backbone.as_read(rows) - mean, vocabulary - mean


def _kept(kept: pd.DataFrame) -> Iterator[str]:
    for row in kept.to_dict("records"):
        yield (
            f"{row['task']} from {row['init']}: {row['kept_by_all']} of {row['rows']} rows have the token that they "
            f"started from as their nearest in all {row['runs']} runs, {row['kept']:.0%} on average."
        )


def calibration(study: Study, settings: AnalysisSettings) -> Section | None:
    """Precision of the reading against the words that the model was taught; None where they are not known."""
    folder = local_folder(study.settings.model)
    if folder is None or not (folder / "truth.json").exists():
        return None
    truth = read_json(folder / "truth.json")
    tokenizer = study.backbone.tokenizer
    vocabulary = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    rows = []
    for (task, init), own in study.labels.groupby(["task", "init"], sort=False):
        if task not in truth:
            continue
        known = tokenizer.convert_tokens_to_ids(truth[task]["words"])
        for space in SPACES:
            for what, matrices in (
                ("tuned", [study.prompts[i].matrix for i in own.index]),
                ("start", [study.starts[i] for i in own.index]),
            ):
                nearest = _nearest(study, matrices, space, settings.neighbours)
                rows.append(
                    {"task": task, "init": init, "space": space, "prompt": what, "k": settings.neighbours}
                    | precision_against_truth(nearest, known, vocabulary)
                )
    table = pd.DataFrame(rows)
    return Section(
        "How far to trust the readings",
        f"This model was taught known wordings of each task's instruction. Precision at {settings.neighbours}: the "
        "share of all nearest tokens that are words of those wordings. Chance is the same reading under a shuffled "
        "vocabulary, 5,000 times; p is the share of shuffles that do as well. The start is the prompt before tuning: "
        "what it reads by itself is no finding.",
        list(_trust(table)),
        {},
        {"calibration": table},
    )


def _nearest(study: Study, matrices: Sequence[Float[Tensor, "_ d"]], space: str, k: int) -> np.ndarray:
    rows, vocabulary = in_space(study, torch.cat(list(matrices)), space)
    return nearest_tokens(rows, vocabulary, k)[0].numpy()


def _trust(table: pd.DataFrame) -> Iterator[str]:
    raw = table[table["space"] == "raw"]
    for row in raw[raw["prompt"] == "tuned"].to_dict("records"):
        same = (raw["task"] == row["task"]) & (raw["init"] == row["init"]) & (raw["prompt"] == "start")
        yield (
            f"{row['task']} from {row['init']}: {row['precision']:.0%} of the nearest tokens are words that the model "
            f"was taught for the task; a shuffled vocabulary gives {row['chance']:.0%} (97.5% of shuffles below "
            f"{row['chance_high']:.0%}), the untrained start {raw[same]['precision'].iloc[0]:.0%}."
        )
