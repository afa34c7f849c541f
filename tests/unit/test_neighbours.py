import torch

from softprompt.analysis.neighbours import nearest_tokens, neighbour_table
from softprompt.report.terminal import neighbour_screen

TABLE = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.0]])


def test_nearest_is_by_angle_not_by_length():
    ids, cosines = nearest_tokens(torch.tensor([[10.0, 0.0], [0.1, 0.1]]), TABLE, 2)
    assert ids.tolist() == [[0, 2], [2, 0]] or ids.tolist() == [[0, 2], [2, 1]]
    torch.testing.assert_close(cosines, torch.tensor([[1.0, 0.5**0.5], [1.0, 0.5**0.5]]))


def test_a_table_row_per_neighbour():
    table = neighbour_table(torch.tensor([[10.0, 0.1]]), [3], TABLE, lambda token: f"t{token}", 2)
    assert table.token.tolist() == ["t0", "t2"]
    assert table.started_as.tolist() == ["t3", "t3"] and table["rank"].tolist() == [1, 2]


def test_tokens_that_look_like_markup_stay_text():
    table = neighbour_table(torch.tensor([[1.0, 0.0]]), [0], TABLE, lambda token: "[bold] x[/nope]", 1)
    screen = neighbour_screen("title", table)
    assert screen.columns[2]._cells[0].plain == "[bold]▁x[/nope] 1.00"
