"""What the rows of a prompt are near to: the vocabulary's tokens, by cosine."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def nearest_tokens(
    rows: Float[Tensor, "n d"], vocabulary: Iterable[Float[Tensor, "_ d"]], k: int
) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The k tokens whose embeddings make the smallest angle with each row, and the cosines, nearest first.

    The vocabulary comes in pieces, in the order of token ids; no more than one piece is held.
    """
    directions = F.normalize(rows, dim=1)
    ids = torch.empty(len(rows), 0, dtype=torch.long)
    cosines = torch.empty(len(rows), 0)
    seen = 0
    for piece in vocabulary:
        found = torch.cat([cosines, directions @ F.normalize(piece, dim=1).T], 1)
        named = torch.cat([ids, torch.arange(seen, seen + len(piece)).expand(len(rows), -1)], 1)
        cosines, places = found.topk(min(k, found.shape[1]), dim=1)
        ids = named.gather(1, places)
        seen += len(piece)
    return ids, cosines


def neighbour_table(
    ids: Int[Tensor, "n k"],
    cosines: Float[Tensor, "n k"],
    initial_tokens: Sequence[int],
    text_of: Callable[[int], str],
) -> pd.DataFrame:
    """One line per prompt row and neighbour: row, the token it started from, rank, token, cosine, and whether it is the
    very token that the row started from."""
    return pd.DataFrame(
        [
            {
                "row": row,
                "started_as": text_of(initial_tokens[row]) if initial_tokens else None,
                "kept": bool(initial_tokens) and token == initial_tokens[row],
                "rank": rank + 1,
                "token": text_of(token),
                "token_id": token,
                "cosine": cosine,
            }
            for row, (tokens, values) in enumerate(zip(ids.tolist(), cosines.tolist(), strict=True))
            for rank, (token, cosine) in enumerate(zip(tokens, values, strict=True))
        ]
    )


def kept_table(neighbours: pd.DataFrame) -> pd.DataFrame:
    """Per task and start, how many rows still have the token that they started from as their nearest.

    `kept` is the share over rows and runs, `kept_by_all` counts the rows that do so in every run, and
    `which` names those, where all runs started from the same. Prompts that started from no tokens are left out.
    """
    first = neighbours[(neighbours["rank"] == 1) & neighbours["started_as"].notna()]
    rows = []
    for (task, variant), own in first.groupby(["task", "variant"], sort=False):
        stayed = own["kept"].groupby(own["row"]).mean()
        everywhere = stayed.index[stayed == 1]
        names = own.groupby("row")["started_as"].agg(
            lambda found: found.iloc[0] if found.nunique() == 1 else ""
        )
        rows.append(
            {
                "task": task,
                "variant": variant,
                "runs": own["run"].nunique(),
                "rows": len(stayed),
                "kept": stayed.mean(),
                "kept_by_all": len(everywhere),
                "which": " ".join(names[everywhere].str.strip()),
            }
        )
    columns = ["task", "variant", "runs", "rows", "kept", "kept_by_all", "which"]
    return pd.DataFrame(rows, columns=columns)
