"""Nearest tokens: for each row of a prompt, the vocabulary's tokens with the highest cosine."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def nearest_tokens(
    rows: Float[Tensor, "n d"], vocabulary: Iterable[Float[Tensor, "_ d"]], k: int
) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The k tokens whose embeddings have the highest cosine with each row.

    Args:
        rows: rows of prompts.
        vocabulary: the embedding table in chunks, in the order of token ids. Only one chunk is held at a time.
        k: how many tokens per row; fewer if the vocabulary is smaller.

    Returns:
        Token ids and cosines, highest cosine first.
    """
    directions = F.normalize(rows, dim=1)
    ids = torch.empty(len(rows), 0, dtype=torch.long)
    cosines = torch.empty(len(rows), 0)
    first_id = 0
    for chunk in vocabulary:
        # The best so far beside the chunk's: [n, k + chunk]
        candidates = torch.cat([cosines, directions @ F.normalize(chunk, dim=1).T], 1)
        chunk_ids = torch.arange(first_id, first_id + len(chunk)).expand(len(rows), -1)
        candidate_ids = torch.cat([ids, chunk_ids], 1)
        cosines, columns = candidates.topk(min(k, candidates.shape[1]), dim=1)  # [n, k] each
        ids = candidate_ids.gather(1, columns)
        first_id += len(chunk)
    return ids, cosines


def neighbour_table(
    ids: Int[Tensor, "n k"],
    cosines: Float[Tensor, "n k"],
    initial_tokens: Sequence[int],
    text_of: Callable[[int], str],
) -> pd.DataFrame:
    """The nearest tokens of one prompt as a table.

    Args:
        ids: token ids of the k nearest tokens of each row, nearest first.
        cosines: their cosines.
        initial_tokens: the token whose embedding each row was before tuning; empty if the rows were no tokens'.
        text_of: a token id as text.

    Returns:
        One line per row and rank (from 1). `kept` is True if the token is the row's initial token.
    """
    return pd.DataFrame(
        [
            {
                "row": row,
                "initial_token": text_of(initial_tokens[row]) if initial_tokens else None,
                "kept": bool(initial_tokens) and token == initial_tokens[row],
                "rank": rank,
                "token": text_of(token),
                "token_id": token,
                "cosine": cosine,
            }
            for row, (row_ids, row_cosines) in enumerate(zip(ids.tolist(), cosines.tolist(), strict=True))
            for rank, (token, cosine) in enumerate(zip(row_ids, row_cosines, strict=True), start=1)
        ]
    )


def kept_rows_table(neighbours: pd.DataFrame) -> pd.DataFrame:
    """How many rows still have their initial token as their nearest token.

    Args:
        neighbours: lines of `neighbour_table` of several runs, with `run`, `task` and `variant`.

    Returns:
        One line per task and variant. `kept_share` is the share over rows and runs, `kept_in_every_run` counts the rows
        that are kept in every run, and `kept_tokens` names their initial tokens, where all runs have the same. Prompts
        without initial tokens are left out.
    """
    nearest = neighbours[(neighbours["rank"] == 1) & neighbours["initial_token"].notna()]
    lines = []
    for (task, variant), group in nearest.groupby(["task", "variant"], sort=False):
        share_of_runs = group["kept"].groupby(group["row"]).mean()
        in_every_run = share_of_runs.index[share_of_runs == 1]
        names = group.groupby("row")["initial_token"].agg(
            lambda tokens: tokens.iloc[0] if tokens.nunique() == 1 else ""
        )
        lines.append(
            {
                "task": task,
                "variant": variant,
                "runs": group["run"].nunique(),
                "rows": len(share_of_runs),
                "kept_share": share_of_runs.mean(),
                "kept_in_every_run": len(in_every_run),
                "kept_tokens": " ".join(names[in_every_run].str.strip()),
            }
        )
    columns = ["task", "variant", "runs", "rows", "kept_share", "kept_in_every_run", "kept_tokens"]
    return pd.DataFrame(lines, columns=columns)


def kept_shares(neighbours: pd.DataFrame) -> pd.DataFrame:
    """The share of rows whose nearest token is their initial token, by run.

    Args:
        neighbours: lines of `neighbour_table` of several runs, with `run`, `task`, `variant` and `prompt`.

    Returns:
        One line per run whose rows have initial tokens, with a column for each kind of prompt.
    """
    nearest = neighbours[(neighbours["rank"] == 1) & neighbours["initial_token"].notna()]
    shares = nearest.pivot_table(
        index=["task", "variant", "run"], columns="prompt", values="kept", aggfunc="mean", sort=False
    )
    return shares.reset_index().rename_axis(columns=None)


def lexicon_counts(neighbours: pd.DataFrame) -> pd.DataFrame:
    """In how many runs a word of the lexicon is among the nearest tokens, and is no initial token of the run.

    Args:
        neighbours: lines of several runs, with `run`, `task`, `prompt`, `in_lexicon` and `among_initial_tokens`. Runs of
            several tasks may have equal names.

    Returns:
        One line per kind of prompt and task: `runs`, `with_word`, and `tokens`, the words that were found.
    """
    found = neighbours.assign(found=neighbours["in_lexicon"] & ~neighbours["among_initial_tokens"])
    lines = []
    for (kind, task), group in found.groupby(["prompt", "task"], sort=False):
        words = group[group["found"]]["token"].str.strip().value_counts()
        lines.append(
            {
                "prompt": kind,
                "task": task,
                "runs": group["run"].nunique(),
                "with_word": int(group.groupby("run")["found"].any().sum()),
                "tokens": " ".join(words.index),
            }
        )
    return pd.DataFrame(lines)
