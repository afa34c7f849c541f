import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from softprompt.analysis.neighbours import (
    kept_rows_table,
    kept_shares,
    lexicon_counts,
    nearest_tokens,
    neighbour_table,
)

TABLE = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.0]])


def test_nearest_is_by_angle_not_by_length():
    ids, cosines = nearest_tokens(torch.tensor([[10.0, 0.0], [0.1, 0.1]]), [TABLE], 2)
    assert ids.tolist() == [[0, 2], [2, 0]] or ids.tolist() == [[0, 2], [2, 1]]
    torch.testing.assert_close(cosines, torch.tensor([[1.0, 0.5**0.5], [1.0, 0.5**0.5]]))


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_chunks_of_the_vocabulary_change_nothing(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    table, rows = torch.randn(50, 8, generator=generator), torch.randn(6, 8, generator=generator)
    expected = (F.normalize(rows, dim=1) @ F.normalize(table, dim=1).T).topk(5, dim=1)
    ids, cosines = nearest_tokens(rows, table.split(size), 5)
    assert torch.equal(ids, expected.indices)
    torch.testing.assert_close(cosines, expected.values)


def test_no_more_neighbours_than_there_are_tokens():
    assert nearest_tokens(TABLE[:1], [TABLE], 9)[0].shape == (1, 4)


def test_a_table_row_per_neighbour():
    table = neighbour_table(
        torch.tensor([[0, 2]]), torch.tensor([[1.0, 0.7]]), [3], lambda token: f"t{token}"
    )
    assert table.token.tolist() == ["t0", "t2"]
    assert table.kept.tolist() == [False, False]
    assert table.initial_token.tolist() == ["t3", "t3"] and table["rank"].tolist() == [1, 2]


def test_kept_rows_are_counted_over_runs():
    neighbours = pd.DataFrame(
        [
            {
                "task": "cb",
                "variant": "text",
                "run": run,
                "row": row,
                "rank": rank,
                "initial_token": start,
                "token": token,
                "kept": token == start,
            }
            for run, tokens in {"a": ["x", "y"], "b": ["x", "z"]}.items()
            for row, (start, token) in enumerate(zip(["x", "y"], tokens, strict=True))
            for rank in (1, 2)
        ]
    )
    (row,) = kept_rows_table(neighbours).to_dict("records")
    assert (row["rows"], row["runs"], row["kept_share"]) == (2, 2, 0.75)
    assert (row["kept_in_every_run"], row["kept_tokens"]) == (1, "x")


def test_prompts_without_initial_tokens_are_left_out():
    table = neighbour_table(torch.tensor([[0]]), torch.tensor([[1.0]]), [], str).assign(
        task="cb", variant="random", run="a"
    )
    kept = kept_rows_table(table)
    assert kept.empty and "kept_in_every_run" in kept


def test_the_share_of_kept_rows_of_each_run():
    lines = [
        {"task": "cb", "variant": "text", "run": run, "prompt": prompt, "rank": rank, "initial_token": "x", "kept": kept}
        for run, prompt, of_rows in (("a", "tuned", (True, False)), ("a", "step", (False, False)))
        for kept in of_rows
        for rank in (1, 2)
    ]  # fmt: skip
    (line,) = kept_shares(pd.DataFrame(lines)).to_dict("records")
    assert (line["run"], line["tuned"], line["step"]) == ("a", 0.5, 0.0)


def test_initial_tokens_are_no_found_words_of_the_lexicon():
    lines = [("a", True, False, " right"), ("a", False, False, "x"), ("b", True, True, "correct")]
    columns = ["run", "in_lexicon", "among_initial_tokens", "token"]
    table = pd.DataFrame(lines, columns=columns).assign(prompt="tuned", task="cb")
    (line,) = lexicon_counts(table).to_dict("records")
    assert (line["runs"], line["with_word"], line["tokens"]) == (2, 1, "right")
