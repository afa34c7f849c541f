"""What the rows of a prompt are near to: the vocabulary's tokens, by cosine."""

from collections.abc import Callable, Sequence

import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def nearest_tokens(
    prompt: Float[Tensor, "n d"], table: Float[Tensor, "V d"], k: int
) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The k tokens whose embeddings make the smallest angle with each row, and the cosines, nearest first."""
    cosines = F.normalize(prompt, dim=1) @ F.normalize(table, dim=1).T
    nearest = cosines.topk(k, dim=1)
    return nearest.indices, nearest.values


def neighbour_table(
    prompt: Float[Tensor, "n d"],
    initial_tokens: Sequence[int],
    table: Float[Tensor, "V d"],
    text_of: Callable[[int], str],
    k: int,
) -> pd.DataFrame:
    """One row per prompt row and neighbour: row, the token it started from, rank, token and cosine."""
    ids, cosines = nearest_tokens(prompt, table, k)
    return pd.DataFrame(
        [
            {
                "row": row,
                "started_as": text_of(initial_tokens[row]) if initial_tokens else None,
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
    `which` names those. Prompts that started from no tokens are left out.
    """
    first = neighbours[(neighbours["rank"] == 1) & neighbours["started_as"].notna()]
    rows = []
    for (task, init), own in first.groupby(["task", "init"], sort=False):
        stayed = (own["token"] == own["started_as"]).groupby(own["row"]).mean()
        everywhere = stayed.index[stayed == 1]
        names = own.drop_duplicates("row").set_index("row")["started_as"]
        rows.append(
            {
                "task": task,
                "init": init,
                "runs": own["run"].nunique(),
                "rows": len(stayed),
                "kept": stayed.mean(),
                "kept_by_all": len(everywhere),
                "which": " ".join(names[everywhere].str.strip()),
            }
        )
    return pd.DataFrame(rows)
