"""The report on a sweep with several methods, and on one with prefixes alone."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from softprompt.report.write import write_report
from softprompt.study import Study
from softprompt.training.train import train_pack
from tests.conftest import composed, reseal
from tests.integration.small_sweep import ANALYSIS

QUIET = Console(quiet=True)
METHODS = ("prompt", "residual", "prefix", "autoprompt", "pez")


def train(methods: tuple[str, ...], model: Path, data: Path, root: Path) -> None:
    for task in ("cb", "rte"):
        for method in methods:
            pack = [
                composed(
                    f"task={task}", "prompt=vocab", f"seed={seed}", f"method={method}", "data=superglue_jsonl",
                    f"data.root={data}", f"model.id={model}", "model.package=null", "trainer=cpu",
                    "trainer.max_epochs=1", "sweep=small", f"output_root={root}",
                )
                for seed in (0, 1)
            ]  # fmt: skip
            train_pack(pack, QUIET)


@pytest.fixture(scope="module")
def methods(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, data_folder: Path) -> Path:
    root = tmp_path_factory.mktemp("methods")
    train(METHODS, model_folder, data_folder, root)
    for folder in root.glob("small/cb/*-pez-*"):  # as an earlier version wrote it
        result = folder / "result.json"
        content = json.loads(result.read_text())
        del content["memory"]
        result.write_text(json.dumps(content))
        reseal(folder)
    parts = ["scores", "methods", "neighbours", "norms", "transfer"]
    write_report(replace(ANALYSIS, sweep=str(root / "small"), parts=parts), QUIET)
    return root / "small"


def test_every_method_has_a_line_per_task(methods: Path) -> None:
    table = pd.read_csv(methods / "analysis/tables/methods.csv")
    assert sorted(table["method"]) == sorted(METHODS * 2)
    assert (table["pairs"] == 1).all() and (table["runs"] == 2).all()
    parameters = dict(zip(table["method"], table["parameters"], strict=True))
    prompt = parameters["prompt"]  # rows · 32; two layers with keys and values of 32 numbers each
    pairs = pd.read_csv(methods / "analysis/tables/methods_pairs.csv")
    assert list(pairs["method"]) == list(METHODS[1:])
    assert (pairs["pairs"] == 4).all() and (pairs["units"] == 4).all()
    scores = {method: group.mean() for method, group in table.groupby("method")["tuned"]}
    expected = [100 * (scores[method] - scores["prompt"]) for method in METHODS[1:]]
    assert pairs["difference"].to_list() == pytest.approx(expected)
    assert (parameters["prefix"], parameters["pez"], parameters["autoprompt"]) == (
        4 * prompt,
        prompt,
        prompt / 32,
    )
    for name in ("html", "json"):
        assert next((methods / "analysis").glob(f"*.{name}")).stat().st_size > 0
    assert (methods / "analysis/figures/methods.png").exists()


def test_memory_is_shown_where_a_result_has_it(methods: Path) -> None:
    table = pd.read_csv(methods / "analysis/tables/methods.csv")
    of_cb, of_rte = (table[table["task"] == task].set_index("method") for task in ("cb", "rte"))
    rows = of_rte["parameters"]["autoprompt"]
    assert (of_rte["keys_and_values_bytes"] == rows * 2 * (32 + 32) * 4).all()  # two layers, float32
    numbers = {
        "prompt": 4 * 32,
        "pez": 4 * 32,
        "autoprompt": 2 * 32,
        "prefix": 4 * 128,
    }  # per row; Adam has two each
    network = 2 * 32 * 400 + 400 + 3 * 32  # of residual prompt tuning, beside its rows
    expected = {name: 4 * rows * n for name, n in numbers.items()}
    expected["residual"] = 4 * (4 * rows * 32 + 4 * network)
    assert of_rte["training_bytes"].to_dict() == expected
    assert of_cb.loc["pez", ["keys_and_values_bytes", "training_bytes"]].isna().all()
    assert of_cb.drop("pez")[["keys_and_values_bytes", "training_bytes"]].notna().all(axis=None)
    assert table["peak_bytes"].isna().all()  # on a CPU


def test_scores_are_those_of_the_results(methods: Path) -> None:
    study = Study(methods, QUIET, ANALYSIS)
    assert study.prefix_study is not None and study.prefix_study.holds_prefixes
    table = pd.read_csv(methods / "analysis/tables/methods.csv").set_index(["task", "variant"])
    for part in (study, study.prefix_study):
        results = pd.DataFrame(
            {**label, "exact_match": result["tuned"]["exact_match"]}
            for label, result in zip(part.labels.to_dict("records"), part.results, strict=True)
        )
        means = results.groupby(["task", "variant"])["exact_match"].mean()
        assert table.loc[means.index, "tuned"].to_list() == pytest.approx(means.to_list())


def test_discrete_prompts_are_listed_as_texts(methods: Path) -> None:
    texts = pd.read_csv(methods / "analysis/tables/methods_texts.csv")
    assert set(texts["variant"]) == {"vocab, autoprompt", "vocab, pez"} and len(texts) == 8
    page = (methods / "analysis/report.html").read_text()
    assert "Methods side by side" in page


def test_sections_on_rows_read_no_prefix(methods: Path) -> None:
    norms = pd.read_csv(methods / "analysis/tables/norms.csv")
    assert set(norms["variant"]) == {"vocab, prompt", "vocab, residual", "vocab, autoprompt", "vocab, pez"}


def test_a_sweep_of_prefixes_alone_has_a_report(
    tmp_path: Path, model_folder: Path, data_folder: Path
) -> None:
    train(("prefix",), model_folder, data_folder, tmp_path)
    write_report(replace(ANALYSIS, sweep=str(tmp_path / "small")), QUIET)
    page = (tmp_path / "small/analysis/report.html").read_text()
    assert "all runs are of method=prefix" in page
    transfer = pd.read_csv(tmp_path / "small/analysis/tables/transfer.csv")
    assert set(transfer["variant"]) == {"vocab"} and len(transfer) == 3 * 4
    assert not list((tmp_path / "small/analysis/tables").glob("methods*.csv"))
