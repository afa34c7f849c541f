"""The report on a small sweep: its files, its parts, other kinds of sweeps, and what is refused."""

import hashlib
import io
import json
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console

from softprompt.backbone import Backbone
from softprompt.errors import UserError
from softprompt.report import registry, sections
from softprompt.report.write import write_report
from softprompt.settings import LoggerSettings
from softprompt.study import Study
from softprompt.training.train import train_pack
from tests.conftest import ROOT, composed, reseal
from tests.integration.small_sweep import ANALYSIS
from tests.wandb_file import read_wandb_file

NEW_READING = """
import pandas as pd

from softprompt.report.registry import Section, section


def length_table(labels, prompts):
    return labels.assign(rows=[len(prompt) for prompt in prompts])


@section(place=15)
def row_counts(study, settings):
    table = length_table(study.labels, [prompt.matrix for prompt in study.prompts])
    finding = f"The longest prompt has {table['rows'].max()} rows."
    return Section("Row counts", "Rows per prompt.", [finding], tables={"row_counts": table})
"""


def test_every_table_and_figure_is_there(small_sweep: Path) -> None:
    made = small_sweep / "analysis"
    tables = {path.stem for path in (made / "tables").glob("*.csv")}
    assert tables == {
        "scores", "scores_by_task", "steps_to_level", "neighbours", "kept_rows", "ablation",
        "kept_vs_others", "dropped_together", "hard_prompt", "hard_prompt_texts", "projection", "nearest_prompt", "norms", "spread",
        "distances", "equidistance", "difficulty", "difficulty_spread", "difficulty_correlation",
        "published_correlation", "wordings", "transfer", "similarity", "similarity_correlation",
        "readings", "readings_by_words_of_task", "readings_words", "pruning", "pruning_fewest_rows", "interpolation",
        "interpolation_pairs", "interpolation_barriers",
    }  # fmt: skip
    for name in (
        "learning_curves",
        "neighbours_cb",
        "neighbours_cb_all_runs",
        "ablation_cb",
        "hard_prompt",
        "readings",
        "readings_by_words_of_task",
        "pruning",
        "interpolation",
        "projection",
        "norms",
        "transfer",
        "transfer_rank",
        "transfer_label_map_random",
        "similarity",
        "similarity_random",
        "similarity_vs_transfer",
        "similarity_vs_transfer_random",
    ):
        assert (made / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (made / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    about = json.loads((made / "analysis.json").read_text())
    assert len(about["runs"]) == 12 and len({run["prompt"] for run in about["runs"]}) == 12
    assert set(about["tables"]["Scores"]) == {"scores_by_task", "steps_to_level", "scores"}
    prompt = next(small_sweep.glob(f"*/{about['runs'][0]['run']}/prompt.safetensors"))
    assert about["runs"][0]["prompt"] == hashlib.sha256(prompt.read_bytes()).hexdigest()


def test_a_second_report_uses_the_cached_answers_and_is_equal(
    small_sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy)
    drawn = [
        copy / "analysis" / name
        for name in ("tables/transfer.csv", "figures/transfer.png", "figures/transfer.pdf")
    ]
    before = [path.read_bytes() for path in drawn]
    for path in drawn:
        path.unlink()
    monkeypatch.setattr("softprompt.answers.score_all", None)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))
    assert [path.read_bytes() for path in drawn] == before


def test_damaged_answers_in_the_cache_are_computed_again(small_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy)
    table = copy / "analysis/tables/transfer.csv"
    before = table.read_bytes()
    shutil.rmtree(copy / "analysis/cache")  # it has the answers of other sections, too
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))
    files = sorted((copy / "analysis/cache").iterdir())
    originals = [path.read_bytes() for path in files]
    flipped = bytearray(originals[0])
    flipped[-1] ^= 1
    files[0].write_bytes(flipped)
    for path, content in zip(files[1:], originals[2:], strict=False):
        path.write_bytes(content)  # another one's answers
    files[-1].write_bytes(b"")
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))
    assert table.read_bytes() == before and files[0].read_bytes() == originals[0]


def test_a_smaller_report_leaves_no_older_tables(small_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy)
    mine = copy / "analysis" / "tables" / "mine.csv"
    mine.write_text("a file of the user's")
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["projection"]), Console(quiet=True))
    assert {path.name for path in (copy / "analysis/tables").iterdir()} == {
        "projection.csv",
        "nearest_prompt.csv",
        "mine.csv",
    }
    assert {path.name for path in (copy / "analysis/figures").iterdir()} == {
        "projection.png",
        "projection.pdf",
    }


def test_prompts_that_are_all_the_same_are_not_projected(small_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    first = next(copy.glob("cb/text-seed0-*")) / "prompt.safetensors"
    content = first.read_bytes()
    for run in copy.glob("*/*-seed*"):
        (run / "prompt.safetensors").write_bytes(content)
        reseal(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        write_report(replace(ANALYSIS, sweep=str(copy), parts=["norms", "projection"]), Console(quiet=True))
    assert not (copy / "analysis/figures/projection.png").exists()


def test_runs_without_checksums_are_read_with_one_warning(small_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    for path in copy.glob("*/*/result.json"):
        result = json.loads(path.read_text())
        del result["files"], result["checksum"]
        path.write_text(json.dumps({**result, "versions": {**result["versions"], "softprompt": "0.2.0"}}))
    console = Console(record=True, width=300, file=io.StringIO())
    study = Study(copy, console, replace(ANALYSIS, sweep=str(copy)))
    assert len(study.prompts) == 12
    assert console.export_text().count("12 runs were trained by a version that stored no checksums") == 1
    next(copy.glob("cb/text-seed0-*/metrics.csv")).unlink()
    with pytest.raises(UserError, match=r"metrics\.csv: is missing"):
        Study(copy, console, replace(ANALYSIS, sweep=str(copy)))


def test_a_sweep_with_an_unfinished_run_is_refused_or_says_what_it_leaves_out(
    small_sweep: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    run = next(copy.glob("cb/text-seed0-*"))
    (run / "result.json").unlink()
    options = replace(ANALYSIS, sweep=str(copy), parts=["norms"])
    with pytest.raises(UserError, match=rf"{run}: this run is not finished; train or remove"):
        write_report(options, Console(quiet=True))
    write_report(replace(options, unfinished="skip"), Console(quiet=True))
    assert json.loads((copy / "analysis/analysis.json").read_text())["left_out"] == [str(run)]
    assert f"{run}" in (copy / "analysis/report.html").read_text()


def test_a_report_of_one_part(small_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["projection"]), Console(quiet=True))
    assert {path.stem for path in (copy / "analysis/tables").iterdir()} == {"projection", "nearest_prompt"}


def test_a_start_from_another_tasks_instruction_is_shown(
    small_sweep: Path, data_folder: Path, tmp_path: Path
) -> None:
    copa = yaml.safe_load((ROOT / "conf/task/copa.yaml").read_text())["instruction"]
    for task, *text in (["cb", f"prompt.text='{copa}'"], ["cb"], ["copa"]):
        settings = composed(
            f"task={task}", "prompt=text", "data=superglue_jsonl", f"data.root={data_folder}", *text,
            f"model.id={small_sweep.parent / 'model'}", "model.package=null", "trainer=cpu", "trainer.max_epochs=1",
            "sweep=wayward", f"output_root={tmp_path}",
        )  # fmt: skip
        train_pack([settings], Console(quiet=True))
    write_report(
        replace(ANALYSIS, sweep=str(tmp_path / "wayward"), parts=["waywardness"]), Console(quiet=True)
    )
    table = pd.read_csv(tmp_path / "wayward/analysis/tables/waywardness.csv")
    assert set(zip(table["task"], table["start"], strict=True)) == {
        ("cb", "copa"), ("cb", "own instruction"), ("copa", "own instruction")
    }  # fmt: skip
    assert (table["start_share"] > 0.5).all()


def test_a_new_section_is_found_without_another_edit(
    small_sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "row_counts.py").write_text(NEW_READING)
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_places", dict(registry._places))
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy)
    assert list(registry.all_sections())[:4] == ["scores", "methods", "row_counts", "lengths"]
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["row_counts", "norms"]), Console(quiet=True))
    page = (copy / "analysis/report.html").read_text()
    assert page.index("The longest prompt has") < page.index("Norms and distances")
    about = json.loads((copy / "analysis/analysis.json").read_text())
    assert about["tables"]["Row counts"] == ["row_counts"]
    assert len(pd.read_csv(copy / "analysis/tables/row_counts.csv")) == 12


def test_an_unknown_part_is_refused_with_the_known_ones(small_sweep: Path) -> None:
    with pytest.raises(UserError) as error:
        write_report(replace(ANALYSIS, sweep=str(small_sweep), parts=["scores", "tsne"]), Console(quiet=True))
    assert str(error.value) == (
        "parts='tsne': there is no such part; the parts are scores, methods, lengths, neighbours, readings, ablation, "
        "pruning, hard_prompt, waywardness, projection, norms, interpolation, difficulty, transfer, similarity, spot"
    )


def test_a_single_run_has_a_report_too(small_sweep: Path, tmp_path: Path) -> None:
    run = next(small_sweep.glob("cb/text-seed0-*"))
    shutil.copytree(run, tmp_path / "one" / "cb" / run.name)
    write_report(replace(ANALYSIS, sweep=str(tmp_path / "one")), Console(quiet=True))
    assert (tmp_path / "one/analysis/report.html").exists()


def test_prompts_of_two_models_are_not_compared(small_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "two"
    shutil.copytree(small_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    config = next(copy.glob("cb/*/config.yaml"))
    config.write_text(re.sub(r"id: .*model", "id: another", config.read_text()))
    reseal(config.parent)
    with pytest.raises(UserError, match="its runs are of 2 models"):
        write_report(replace(ANALYSIS, sweep=str(copy)), Console(quiet=True))


def test_a_sweep_with_wandb_logs_its_report_to_wandb(small_sweep: Path, tmp_path: Path) -> None:
    run = next(small_sweep.glob("cb/text-seed0-*"))
    copy = tmp_path / "one" / "cb" / run.name
    shutil.copytree(run, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["logger"] = {"name": "wandb", "project": "softprompt", "entity": None}  # as until version 0.4
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    reseal(copy)
    write_report(replace(ANALYSIS, sweep=str(tmp_path / "one"), parts=["scores"]), Console(quiet=True))
    (path,) = (tmp_path / "one/analysis/wandb").glob("offline-run-*/run-*.wandb")
    recorded = read_wandb_file(path)
    assert recorded.id == f"{config['sweep']}-analysis" and recorded.exit_code == 0
    assert {"figures/learning_curves/path", "tables/scores_by_task/path"} <= set(recorded.steps[0])
    assert {"report.html", "tables/scores_by_task.csv", "figures/learning_curves.pdf"} <= set(
        recorded.artifacts["report"]
    )


def test_the_analysis_chooses_its_logger(small_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "one" / "cb"
    copy.mkdir(parents=True)
    run = next(small_sweep.glob("cb/text-seed0-*"))
    shutil.copytree(run, copy / run.name)
    logger = LoggerSettings(name="wandb", project="elsewhere")
    write_report(
        replace(ANALYSIS, sweep=str(tmp_path / "one"), parts=["scores"], logger=logger), Console(quiet=True)
    )
    assert list((tmp_path / "one/analysis/wandb").glob("offline-run-*/run-*.wandb"))


def test_runs_with_different_optimisers_are_different_variants(small_sweep: Path, tmp_path: Path) -> None:
    """The same task and initialiser with another optimiser is another variant, in every table."""
    for run in sorted(small_sweep.glob("cb/text-*")):
        for optimiser in ("adam", "sgd"):
            copy = tmp_path / "two" / "cb" / f"{optimiser}-{run.name}"
            shutil.copytree(run, copy)
            if optimiser == "sgd":
                config = yaml.safe_load((copy / "config.yaml").read_text())
                config["optim"] = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}
                (copy / "config.yaml").write_text(yaml.safe_dump(config))
            reseal(copy, run=copy.name)
    write_report(
        replace(ANALYSIS, sweep=str(tmp_path / "two"), parts=["scores", "transfer"]), Console(quiet=True)
    )
    tables = tmp_path / "two/analysis/tables"
    for name in ("scores_by_task", "steps_to_level", "transfer"):
        assert set(pd.read_csv(tables / f"{name}.csv")["variant"]) == {"text, adam", "text, sgd"}, name
    assert (tmp_path / "two/analysis/figures/transfer_text_sgd.pdf").exists()


def test_a_run_without_initial_tokens_has_a_report(small_sweep: Path, tmp_path: Path) -> None:
    run = next(small_sweep.glob("cb/random-seed0-*"))
    shutil.copytree(run, tmp_path / "one" / "cb" / run.name)
    parts = ["scores", "neighbours", "readings", "ablation", "similarity", "difficulty"]
    write_report(replace(ANALYSIS, sweep=str(tmp_path / "one"), parts=parts), Console(quiet=True))
    assert (tmp_path / "one/analysis/report.html").exists()


def test_a_model_that_has_changed_is_refused(small_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    path = next(copy.glob("cb/text-seed0-*/result.json"))
    hashes = json.loads(path.read_text())["hashes"]
    reseal(path.parent, hashes={**hashes, "model/config.json": "0"})
    with pytest.raises(UserError, match=r"model/config\.json has changed since this run was trained"):
        write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))


def test_a_prompt_too_long_for_another_task_s_texts_is_an_error(
    small_sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    monkeypatch.setattr(Backbone, "context_length", 12)
    with pytest.raises(UserError, match=r"prompt rows and .* tokens do not fit the model's context of 12"):
        write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))
