import pandas as pd
import torch

from softprompt.analysis.neighbours import kept_table, nearest_tokens, neighbour_table

TABLE = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.0]])


def test_nearest_is_by_angle_not_by_length():
    ids, cosines = nearest_tokens(torch.tensor([[10.0, 0.0], [0.1, 0.1]]), TABLE, 2)
    assert ids.tolist() == [[0, 2], [2, 0]] or ids.tolist() == [[0, 2], [2, 1]]
    torch.testing.assert_close(cosines, torch.tensor([[1.0, 0.5**0.5], [1.0, 0.5**0.5]]))


def test_a_table_row_per_neighbour():
    table = neighbour_table(torch.tensor([[10.0, 0.1]]), [3], TABLE, lambda token: f"t{token}", 2)
    assert table.token.tolist() == ["t0", "t2"]
    assert table.started_as.tolist() == ["t3", "t3"] and table["rank"].tolist() == [1, 2]


def test_kept_rows_are_counted_over_runs():
    neighbours = pd.DataFrame(
        [
            {
                "task": "cb",
                "init": "text",
                "run": run,
                "row": row,
                "rank": rank,
                "started_as": start,
                "token": token,
            }
            for run, tokens in {"a": ["x", "y"], "b": ["x", "z"]}.items()
            for row, (start, token) in enumerate(zip(["x", "y"], tokens, strict=True))
            for rank in (1, 2)
        ]
    )
    (row,) = kept_table(neighbours).to_dict("records")
    assert (row["rows"], row["runs"], row["kept"], row["kept_by_all"], row["which"]) == (2, 2, 0.75, 1, "x")


def test_rows_that_started_from_no_token_keep_none():
    table = neighbour_table(torch.tensor([[1.0, 0.0]]), [], TABLE, str, 1).assign(
        task="cb", init="random", run="a"
    )
    assert kept_table(table).empty
