"""A small sweep, from its runs to the page, which is opened in a browser where there is one."""

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from softprompt.errors import UserError
from softprompt.pack import train_pack
from softprompt.report.write import PARTS, write_report
from softprompt.settings import AnalysisSettings, parse_settings
from tests.conftest import WORDS, make_model, make_tokenizer

HOSTILE = "<script>document.title='owned'</script>"
BROWSER = shutil.which("chromium")
ANALYSIS = AnalysisSettings(sweep="-", parts=list(PARTS), neighbours=2, alignment="resample", lexicon=["dog"])


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """Three tasks, two starts, two seeds, on a model whose vocabulary is out to get us."""
    root = tmp_path_factory.mktemp("sweep")
    model = root / "model"
    make_model("bloom").save_pretrained(model)
    make_tokenizer([*WORDS, HOSTILE, "&amp;", "\\$x_1$", "[bold]"]).save_pretrained(model)
    (model / "truth.json").write_text(json.dumps({"cb": {"instructions": ["x"], "words": ["entail,", "or"]}}))
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from tests.conftest import ROOT

    for task in ("cb", "rte", "copa"):
        pack = []
        for init in ("text", "random"):
            for seed in (0, 1):
                with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
                    config = compose(
                        "train",
                        overrides=[
                            f"task={task}", f"prompt={init}", f"seed={seed}", "data=superglue_jsonl",
                            f"data.root={data_folder}", f"model.id={model}", "model.package=null", "trainer=cpu",
                            "trainer.max_epochs=2", "optim.lr=0.05", "sweep=small", f"output_root={root}",
                        ],
                    )  # fmt: skip
                pack.append(parse_settings(OmegaConf.to_container(config, resolve=True)))
        train_pack(pack, Console(quiet=True))
    write_report(replace(ANALYSIS, sweep=str(root / "small")), Console(quiet=True))
    return root / "small"


def test_every_table_and_figure_is_there(sweep: Path) -> None:
    made = sweep / "analysis"
    tables = {path.stem for path in (made / "tables").glob("*.csv")}
    assert tables >= {
        "scores", "scores_by_task", "starts", "neighbours", "kept", "calibration", "tsne", "norms", "distances",
        "equidistance", "transfer", "similarity", "correlation",
    }  # fmt: skip
    for name in (
        "learning_curves",
        "neighbours_cb",
        "tsne",
        "norms",
        "transfer",
        "similarity",
        "similarity_vs_transfer",
    ):
        assert (made / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (made / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    about = json.loads((made / "analysis.json").read_text())
    assert about["runs"] == "12"


def test_the_numbers_are_the_runs_numbers(sweep: Path) -> None:
    transfer = pd.read_csv(sweep / "analysis/tables/transfer.csv")
    results = [json.loads(path.read_text()) for path in sweep.glob("*/*/result.json")]
    own = transfer[(transfer["source"] == transfer["target"]) & (transfer["score"] == "exact match")]
    for row in own.to_dict("records"):
        runs = [r for r in results if r["task"] == row["source"] and r["init"] == row["init"]]
        tuned = sum(run["tuned"]["exact_match"] for run in runs) / len(runs)
        bare = runs[0]["baselines"]["no_prompt"]["exact_match"]
        assert row["gain"] == pytest.approx(100 * (tuned - bare), abs=1e-3)
    ranked = transfer[(transfer["source"] == transfer["target"]) & (transfer["score"] == "rank accuracy")]
    for row in ranked.to_dict("records"):
        runs = [r for r in results if r["task"] == row["source"] and r["init"] == row["init"]]
        tuned = sum(run["tuned"]["rank_accuracy"] for run in runs) / len(runs)
        assert row["exact_match"] == pytest.approx(tuned, abs=1e-4)


def test_an_untrained_text_prompt_is_near_to_its_own_tokens(sweep: Path) -> None:
    neighbours = pd.read_csv(sweep / "analysis/tables/neighbours.csv", keep_default_na=False)
    first = neighbours[
        (neighbours["rank"] == 1) & (neighbours["init"] == "text") & (neighbours["space"] == "raw")
    ]
    assert first["kept"].mean() > 0.9  # two epochs move a row by less than the way to the next token
    assert (first["moved"].astype(float) > 0).all()
    assert "dog" in set(neighbours.loc[neighbours["in_lexicon"].astype(str) == "True", "token"])


def test_asking_again_computes_nothing_anew_and_draws_the_same(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy)
    drawn = [
        copy / "analysis" / name
        for name in ("tables/transfer.csv", "figures/transfer.png", "figures/transfer.pdf")
    ]
    before = [path.read_bytes() for path in drawn]
    for path in drawn:
        path.unlink()
    monkeypatch.setattr("softprompt.report.study.score_all", None)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))
    assert [path.read_bytes() for path in drawn] == before


def test_one_part_can_be_asked_for(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["tsne"]), Console(quiet=True))
    assert [path.name for path in (copy / "analysis/tables").iterdir()] == ["tsne.csv"]


def test_a_single_run_has_a_report_too(sweep: Path, tmp_path: Path) -> None:
    run = next(sweep.glob("cb/text-seed0-*"))
    shutil.copytree(run, tmp_path / "one" / "cb" / run.name)
    write_report(replace(ANALYSIS, sweep=str(tmp_path / "one")), Console(quiet=True))
    assert (tmp_path / "one/analysis/report.html").exists()


def test_prompts_of_two_models_are_not_compared(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "two"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    config = next(copy.glob("cb/*/config.yaml"))
    config.write_text(re.sub(r"id: .*model", "id: another", config.read_text()))
    with pytest.raises(UserError, match="its runs are of 2 models"):
        write_report(replace(ANALYSIS, sweep=str(copy)), Console(quiet=True))


def test_the_page_escapes_what_it_shows(sweep: Path) -> None:
    page = (sweep / "analysis/report.html").read_text()
    assert HOSTILE not in page and "&lt;script&gt;" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page.replace('xlink:href="#', ""))


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_a_browser_shows_the_page_without_errors_or_requests(sweep: Path, tmp_path: Path) -> None:
    page = sweep / "analysis/report.html"
    result = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "What the prompts of" in result.stdout
    assert "<title>owned" not in result.stdout
    # The page's own policy forbids scripts and requests; what it would have to forbid would show on the console.
    assert "default-src 'none'" in result.stdout
    assert "CONSOLE" not in result.stderr
    rows = len(list(csv.reader((sweep / "analysis/tables/scores.csv").open())))
    assert result.stdout.count("<svg") >= 7 and rows == 13
