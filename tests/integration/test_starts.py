"""Sweeps over what prompts start from: other runs (`experiment=spot`), and Lester et al.'s starts (`experiment=lester`)."""

import shutil
from dataclasses import replace
from html import unescape
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from softprompt.errors import UserError
from softprompt.report.write import write_report
from softprompt.runs import Run
from softprompt.settings import PromptSettings, Settings
from softprompt.training.train import train_pack
from tests.conftest import ROOT, composed
from tests.integration.small_sweep import ANALYSIS

CONSOLE = Console(quiet=True)


def jobs(experiment: str, root: Path, *one_of: str) -> list[Settings]:
    """What `train.py -m experiment=... output_root=...` would run, with the first value alone of the keys in `one_of`."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose(
            "train", overrides=[f"experiment={experiment}", f"output_root={root}"], return_hydra_config=True
        )
    params = {key: str(values) for key, values in config.hydra.sweeper.params.items()}
    values = [
        [f"{key}={value.strip()}" for value in text.split(",")[: 1 if key in one_of else None]]
        for key, text in params.items()
    ]
    return [composed(f"experiment={experiment}", f"output_root={root}", *job) for job in product(*values)]


def test_spot_pairs_every_task_with_every_task_of_the_demo(tmp_path: Path) -> None:
    found = {(s.task.name, s.prompt.run, s.seed) for s in jobs("spot", tmp_path, "seed")}
    tasks = ["cb", "rte", "copa", "wsc"]
    assert found == {
        (target, f"{tmp_path}/demo/{source}/text-seed{{seed}}-*", 0)
        for target, source in product(tasks, tasks)
    }


def test_lester_has_lengths_and_starts(tmp_path: Path) -> None:
    found = {(s.prompt.init, s.prompt.length) for s in jobs("lester", tmp_path, "task", "seed")}
    assert found == set(product(["uniform", "common", "labels"], [1, 5, 20, 100]))


def started(settings: Settings, source: str, sweep: str, output_root: Path, seed: int = 0) -> Settings:
    """The settings of a run from another run's prompt."""
    prompt = PromptSettings(init="run", run=source)
    trainer = replace(settings.trainer, max_epochs=1, early_evaluations=True)
    return replace(
        settings, prompt=prompt, trainer=trainer, sweep=sweep, output_root=str(output_root), seed=seed
    )


def settings_of(sweep: Path, task: str) -> Settings:
    return Run.at(next(sweep.glob(f"{task}/text-seed0-*"))).settings


def test_a_run_starts_from_the_best_prompt_and_is_known_by_its_content(sweep: Path, tmp_path: Path) -> None:
    own = started(settings_of(sweep, "rte"), f"{sweep}/cb/text-seed{{seed}}-*", "from", tmp_path)
    (run,) = train_pack([own], CONSOLE)
    source = Run.at(next(sweep.glob("cb/text-seed0-*")))
    assert (run.initial_prompt().matrix == source.best_prompt().matrix).all()
    copy = tmp_path / "copy/cb" / source.path.name
    shutil.copytree(source.path, copy)
    (again,) = train_pack([replace(own, prompt=PromptSettings(init="run", run=str(copy)))], CONSOLE)
    assert again.id == run.id
    (other,) = train_pack([started(own, f"{sweep}/cb/random-seed0-*", "from", tmp_path)], CONSOLE)
    assert other.id != run.id


def test_a_source_that_is_not_finished_is_refused(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "unfinished/cb/text-seed0-x"
    shutil.copytree(next(sweep.glob("cb/text-seed0-*")), copy)
    (copy / "result.json").unlink()
    with pytest.raises(UserError, match=r"result\.json: "):
        train_pack([started(settings_of(sweep, "rte"), str(copy), "from", tmp_path)], CONSOLE)


def test_the_section_on_runs_from_other_prompts(sweep: Path, tmp_path: Path) -> None:
    source = tmp_path / "small"
    shutil.copytree(sweep, source, ignore=shutil.ignore_patterns("analysis"))
    tasks = ("cb", "rte", "copa")
    for target in tasks:
        of_target = settings_of(sweep, target)
        train_pack(
            [
                started(of_target, f"{source}/{other}/text-seed{{seed}}-*", "spot", tmp_path, seed)
                for other in tasks
                for seed in (0, 1)
            ],
            CONSOLE,
        )
    options = replace(ANALYSIS, sweep=str(tmp_path / "spot"), parts=["spot"])
    write_report(options, CONSOLE)
    made = tmp_path / "spot/analysis"
    table = pd.read_csv(made / "tables/spot.csv")
    assert len(table) == 3 * 4 and (table["seeds"] == 2).all()
    for line in table.to_dict("records"):
        results = [run.result() for run in map(Run.at, source.glob(f"{line['target']}/text-seed*"))]
        shares = [result["tuned"]["exact_match"] for result in results]
        assert line["instruction_after"] == pytest.approx(100 * sum(shares) / 2)
    retrieved = pd.read_csv(made / "tables/spot_retrieval.csv")
    assert list(zip(retrieved["score"], retrieved["k"], strict=True)) == [
        ("zero-shot", 1), ("zero-shot", 2), ("tuned", 1), ("tuned", 2)
    ]  # fmt: skip
    assert (retrieved["hits"] <= 3).all() and (retrieved.loc[retrieved["k"] == 2, "hits"] == 3).all()
    assert (made / "figures/spot.png").exists()
    page = unescape((made / "report.html").read_text())
    assert "Before tuning, another task's prompt scores" in page and "Control: trained again" in page
    shutil.rmtree(source)  # the sources are no longer there
    write_report(options, CONSOLE)
    assert "Left out: prompt.run: there is no sweep" in (made / "report.html").read_text()
    assert not (made / "figures/spot.png").exists()


def test_the_section_on_lengths(sweep: Path, tmp_path: Path) -> None:
    own = settings_of(sweep, "cb")
    trainer = replace(own.trainer, max_epochs=1)
    runs = [
        replace(own, prompt=PromptSettings(init=init, length=length), trainer=trainer, seed=seed,
                sweep="lengths", output_root=str(tmp_path))
        for init in ("uniform", "labels")
        for length in (1, 3, 6)
        for seed in (0, 1)
    ]  # fmt: skip
    finished = train_pack(runs, CONSOLE)
    write_report(replace(ANALYSIS, sweep=str(tmp_path / "lengths"), parts=["lengths"]), CONSOLE)
    made = tmp_path / "lengths/analysis"
    table = pd.read_csv(made / "tables/lengths.csv").set_index(["start", "rows"])
    assert len(table) == 6 and (table["runs"] == 2).all()
    for (start, rows), line in table.iterrows():
        shares = [
            run.result()["tuned"]["exact_match"]
            for run in finished
            if (run.settings.prompt.init, run.settings.prompt.length) == (start, rows)
        ]
        assert line["exact_match"] == pytest.approx(100 * sum(shares) / 2)
    assert len(pd.read_csv(made / "tables/lengths_differences.csv")) == 2 * 3
    assert len(pd.read_csv(made / "tables/lengths_starts.csv")) == 3
    assert (made / "figures/lengths.png").exists()
    assert "labels against uniform at the same length" in (made / "report.html").read_text()


def test_sweeps_without_such_runs_have_neither_section(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["spot", "lengths", "norms"]), CONSOLE)
    page = (copy / "analysis/report.html").read_text()
    assert (
        "Norms and distances" in page
        and "Lengths of prompts" not in page
        and "another task's prompt" not in page
    )
