import pytest

from softprompt.errors import UserError
from softprompt.prompt import FILE
from softprompt.runs.source import source_folder


@pytest.fixture
def sweep(tmp_path):
    for run in ("rte/text-seed0-aa", "rte/text-seed1-bb", "rte/text-seed1-cc", "cb/text-seed[0]"):
        (tmp_path / "demo" / run).mkdir(parents=True)
        (tmp_path / "demo" / run / FILE).touch()
    (tmp_path / "demo/rte/text-seed0-empty").mkdir()
    return tmp_path / "demo"


@pytest.mark.parametrize(
    "pattern", ["rte/text-seed0-*", "rte/text-seed{seed}-*", "rte/text-seed0-aa", "*/*0-??"]
)
def test_a_pattern_names_the_run_that_matches(sweep, pattern):
    assert source_folder(f"{sweep}/{pattern}", 0) == sweep / "rte/text-seed0-aa"


def test_a_folder_whose_name_looks_like_a_pattern_is_itself(sweep):
    assert source_folder(f"{sweep}/cb/text-seed[0]", 0) == sweep / "cb/text-seed[0]"


def test_no_run_several_runs_and_no_sweep_are_one_line_each(sweep):
    pattern = f"{sweep}/rte/text-seed{{seed}}-*"
    with pytest.raises(
        UserError,
        match=r"^prompt\.run=.*text-seed1-\*: 2 runs match \(text-seed1-bb, text-seed1-cc\); name one",
    ):
        source_folder(pattern, 1)
    with pytest.raises(UserError, match=r"^prompt\.run=.*text-seed2-\*: no run matches; train it first$"):
        source_folder(pattern, 2)
    with pytest.raises(
        UserError, match=r"^prompt\.run: there is no sweep .*nowhere; train it first .*make demo"
    ):
        source_folder(f"{sweep.parent}/nowhere/rte/*", 0)
