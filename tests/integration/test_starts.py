"""Sweeps over what prompts start from: other runs (`experiment=spot`), and Lester et al.'s starts (`experiment=lester`)."""

import shutil
from dataclasses import replace
from html import unescape
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from rich.console import Console

from softprompt.analysis.prompt_mean import mean_prompt, similarity_weights
from softprompt.errors import UserError
from softprompt.report.spot_runs import compared_runs
from softprompt.report.write import write_report
from softprompt.runs import Run
from softprompt.settings import PezSettings, PrefixSettings, PromptSettings, ResidualSettings, Settings
from softprompt.study import Study
from softprompt.training.train import train_pack
from tests.conftest import ROOT, composed, reseal
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
        [f"{key}={value.strip()}" for value in _choices(text)[: 1 if key in one_of else None]]
        for key, text in params.items()
    ]
    return [composed(f"experiment={experiment}", f"output_root={root}", *job) for job in product(*values)]


def _choices(text: str) -> list[str]:
    """The values of a key that is swept; a list is one value."""
    return [text] if text.startswith("[") else text.split(",")


def test_spot_pairs_every_task_with_every_task_of_the_demo(tmp_path: Path) -> None:
    found = {(s.task.name, s.prompt.run, s.seed) for s in jobs("spot", tmp_path, "seed")}
    tasks = ["cb", "rte", "copa", "wsc"]
    assert found == {
        (target, f"{tmp_path}/demo/{source}/text-seed{{seed}}-*", 0)
        for target, source in product(tasks, tasks)
    }


def test_a_mean_has_all_tasks_prompts_and_the_targets_own_to_compare_with(tmp_path: Path) -> None:
    found = jobs("spot_mean", tmp_path, "seed")
    tasks = ["cb", "rte", "copa", "wsc"]
    sources = [f"{tmp_path}/demo/{task}/text-seed{{seed}}-*" for task in tasks]
    assert [(s.task.name, s.prompt.init, s.prompt.runs, s.sweep) for s in found] == [
        (task, "mean", sources, "spot") for task in tasks
    ]
    assert {s.prompt.like for s in found} == {f"{tmp_path}/demo/{{task}}/text-seed{{seed}}-*"}


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


def from_mean(settings: Settings, sources: list[str], output_root: Path, seed: int = 0) -> Settings:
    """The settings of a run from the mean of the sources' prompts, for the sweep `spot`."""
    own = started(settings, "-", "spot", output_root, seed)
    like = f"{Path(sources[0]).parent.parent}/{settings.task.name}/text-seed{{seed}}-*"
    return replace(own, prompt=PromptSettings(init="mean", runs=sources, like=like))


def settings_of(sweep: Path, task: str) -> Settings:
    return Run.at(next(sweep.glob(f"{task}/text-seed0-*"))).settings


def test_a_run_starts_from_the_best_prompt_and_is_known_by_its_content(
    trained_sweep: Path, tmp_path: Path
) -> None:
    own = started(
        settings_of(trained_sweep, "rte"), f"{trained_sweep}/cb/text-seed{{seed}}-*", "from", tmp_path
    )
    (run,) = train_pack([own], CONSOLE)
    source = Run.at(next(trained_sweep.glob("cb/text-seed0-*")))
    assert (run.initial_prompt().matrix == source.best_prompt().matrix).all()
    copy = tmp_path / "copy/cb" / source.path.name
    shutil.copytree(source.path, copy)
    (again,) = train_pack([replace(own, prompt=PromptSettings(init="run", run=str(copy)))], CONSOLE)
    assert again.id == run.id
    (other,) = train_pack([started(own, f"{trained_sweep}/cb/random-seed0-*", "from", tmp_path)], CONSOLE)
    assert other.id != run.id


def test_a_run_starts_from_the_weighted_mean_of_other_tasks(trained_sweep: Path, tmp_path: Path) -> None:
    patterns = [f"{trained_sweep}/{task}/text-seed{{seed}}-*" for task in ("cb", "rte", "copa")]
    own = from_mean(settings_of(trained_sweep, "rte"), patterns, tmp_path, seed=1)
    (run,) = train_pack([own], CONSOLE)
    cb, like, copa = (
        Run.at(next(trained_sweep.glob(f"{task}/text-seed1-*"))).best_prompt().matrix
        for task in ("cb", "rte", "copa")
    )
    cosines = [float(torch.cosine_similarity(other.mean(0), like.mean(0), dim=0)) for other in (cb, copa)]
    weights = [max(0.0, cosine) for cosine in cosines]
    places = [[row % len(other) for row in range(len(like))] for other in (cb, copa)]
    mean = (weights[0] * cb[places[0]] + weights[1] * copa[places[1]]) / sum(weights)
    assert torch.allclose(run.initial_prompt().matrix, mean, atol=1e-6)

    shutil.copytree(trained_sweep, tmp_path / "copy", ignore=shutil.ignore_patterns("analysis"))
    elsewhere = [
        pattern.replace(str(trained_sweep), str(tmp_path / "copy"))
        for pattern in patterns
        if "/rte/" not in pattern
    ]
    (again,) = train_pack([from_mean(own, elsewhere, tmp_path, seed=1)], CONSOLE)
    assert again.id == run.id
    (other,) = train_pack([from_mean(own, elsewhere[:1], tmp_path, seed=1)], CONSOLE)
    assert other.id != run.id and torch.equal(other.initial_prompt().matrix, cb[places[0]])


def test_a_prefix_starts_from_the_mean_of_prefixes_and_not_of_prompts_and_prefixes(
    trained_sweep: Path, tmp_path: Path
) -> None:
    settings = {
        task: replace(
            settings_of(trained_sweep, task),
            method=PrefixSettings("prefix", None),
            trainer=replace(settings_of(trained_sweep, task).trainer, max_steps=1),
            sweep="prefixes",
            output_root=str(tmp_path),
        )
        for task in ("cb", "rte", "copa")
    }
    prefixes = {task: train_pack([own], CONSOLE)[0] for task, own in settings.items()}
    sources, like = [str(prefixes[task].path) for task in ("cb", "copa")], str(prefixes["rte"].path)
    mean = PromptSettings(init="mean", runs=sources, like=like)
    (run,) = train_pack([replace(settings["rte"], prompt=mean)], CONSOLE)
    cb, target, copa = (prefixes[task].best_prompt().matrix for task in ("cb", "rte", "copa"))
    expected = mean_prompt([cb, copa], similarity_weights([cb, copa], target), len(target))
    assert run.initial_prompt().method == "prefix" and torch.equal(run.initial_prompt().matrix, expected)
    mixed = replace(mean, runs=[sources[0], f"{trained_sweep}/copa/text-seed0-*"])
    with pytest.raises(UserError, match=r"prompt\.runs: some runs hold prefixes .* name runs of one method"):
        train_pack([replace(settings["rte"], prompt=mixed)], CONSOLE)


def test_a_mean_of_prompts_that_are_not_similar_is_refused(trained_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "opposite/cb/text-seed0-x"
    shutil.copytree(next(trained_sweep.glob("cb/text-seed0-*")), copy)
    like = Run.at(next(trained_sweep.glob("rte/text-seed0-*"))).best_prompt()
    replace(like, matrix=-like.matrix, task="cb").save(copy / "prompt.safetensors")
    prompt = PromptSettings(init="mean", runs=[str(copy)], like=f"{trained_sweep}/rte/text-seed0-*")
    own = replace(settings_of(trained_sweep, "rte"), prompt=prompt, sweep="spot", output_root=str(tmp_path))
    with pytest.raises(UserError, match=r"cb/text-seed0-x/prompt\.safetensors: differs from its checksum"):
        train_pack([own], CONSOLE)
    reseal(copy)
    with pytest.raises(
        UserError, match=r"^prompt\.runs: no source's prompt is similar to that of .*rte/text-seed0-"
    ):
        train_pack([own], CONSOLE)


def test_a_source_that_is_not_finished_is_refused(trained_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "unfinished/cb/text-seed0-x"
    shutil.copytree(next(trained_sweep.glob("cb/text-seed0-*")), copy)
    (copy / "result.json").unlink()
    with pytest.raises(UserError, match=r"result\.json: "):
        train_pack([started(settings_of(trained_sweep, "rte"), str(copy), "from", tmp_path)], CONSOLE)


def test_the_section_on_runs_from_other_prompts(trained_sweep: Path, tmp_path: Path) -> None:
    source = tmp_path / "small"
    shutil.copytree(trained_sweep, source, ignore=shutil.ignore_patterns("analysis"))
    tasks = ("cb", "rte", "copa")
    for target in tasks:
        of_target = settings_of(trained_sweep, target)
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
    assert "weighted" not in page and not (made / "tables/spot_mean.csv").exists()

    patterns = [f"{source}/{task}/text-seed{{seed}}-*" for task in tasks]
    runs = [
        run
        for target in tasks
        for run in train_pack(
            [from_mean(settings_of(trained_sweep, target), patterns, tmp_path, seed) for seed in (0, 1)],
            CONSOLE,
        )
    ]
    write_report(options, CONSOLE)
    means = pd.read_csv(made / "tables/spot_mean.csv").set_index(["other", "target"])
    assert len(means) == 3 * 3 and (means["seeds"] == 2).all()
    singles = table.set_index(["target", "source"])
    similar = pd.read_csv(made / "tables/spot_similarity.csv")
    for target in tasks:
        scores = [run.result()["tuned"]["exact_match"] for run in runs if run.settings.task.name == target]
        line = means.loc[("instruction", target)]
        assert line["after"] == pytest.approx(100 * sum(scores) / 2)
        assert line["other_after"] == pytest.approx(singles.loc[(target, target), "instruction_after"])
        others = similar[(similar["target"] == target) & (similar["source"] != target)]
        nearest = others.loc[others["similarity"].idxmax(), "source"]
        for score in ("before", "after"):
            expected = singles.loc[(target, nearest), score]
            assert means.loc[("most similar source", target), f"other_{score}"] == pytest.approx(expected)
    weights = pd.read_csv(made / "tables/spot_weights.csv")
    assert len(weights) == 3 * 2 * 2 and not (weights["source"] == weights["target"]).any()
    assert weights.groupby(["target", "seed"])["weight"].sum().to_numpy() == pytest.approx(1.0)
    tests = pd.read_csv(made / "tables/spot_mean_tests.csv")
    assert len(tests) == 7 and (tests["units"] == 6).all()
    page = unescape((made / "report.html").read_text())
    assert page.count("<td>weighted mean</td>") == 3 and "Null: the mean with equal weights scores" in page
    assert len(pd.read_csv(made / "tables/spot.csv")) == len(table)  # the mean is no source of its own
    for run in Path(tmp_path / "spot").glob("*/run-*"):
        shutil.rmtree(run)
    write_report(options, CONSOLE)
    assert "runs from a mean are compared with runs from one prompt" in (made / "report.html").read_text()
    for run in runs:
        shutil.rmtree(run.path)
    (again,) = train_pack([started(settings_of(trained_sweep, "cb"), patterns[1], "spot", tmp_path)], CONSOLE)
    assert again.done
    shutil.rmtree(source)  # the sources are no longer there
    write_report(options, CONSOLE)
    assert "Left out: prompt.run: there is no sweep" in (made / "report.html").read_text()
    assert not (made / "figures/spot.png").exists()


def test_runs_that_have_no_comparison_are_left_out_with_the_reason(
    trained_sweep: Path, tmp_path: Path
) -> None:
    source = tmp_path / "small"
    shutil.copytree(trained_sweep, source, ignore=shutil.ignore_patterns("analysis"))
    patterns = {task: f"{source}/{task}/text-seed{{seed}}-*" for task in ("cb", "copa")}
    own = settings_of(trained_sweep, "rte")
    from_cb, from_copa = (started(own, pattern, "spot", tmp_path) for pattern in patterns.values())
    mean = from_mean(own, list(patterns.values()), tmp_path)
    others = [
        replace(from_cb, method=ResidualSettings("residual", 4)),
        replace(from_cb, method=PezSettings("pez")),
        replace(from_cb, method=PrefixSettings("prefix", None)),
        replace(from_cb, optim=replace(own.optim, lr=0.02)),
    ]
    kept, changed, changed_mean = (train_pack([one], CONSOLE)[0] for one in (from_cb, from_copa, mean))
    for one in others:
        train_pack([one], CONSOLE)

    def found(of_prefixes: bool = False) -> tuple[list[Run], list[Run], list[str]]:
        study = Study(tmp_path / "spot", CONSOLE, ANALYSIS, of_prefixes)
        from_prompts, from_means, reasons = compared_runs(study)
        return [one.run for one in from_prompts], [one.run for one in from_means], reasons

    from_instruction = f"{source}/rte has not one run from the instruction with seed 0, method={{}} and the same optimiser on the same data"
    unlike = [from_instruction.format(method) for method in ("prompt", "residual", "pez")]
    from_prompts, from_means, reasons = found()
    assert {run.path for run in from_prompts} == {kept.path, changed.path}
    assert [run.path for run in from_means] == [changed_mean.path]
    assert sorted(reasons) == sorted(unlike)
    assert found(of_prefixes=True) == ([], [], [from_instruction.format("prefix")])

    copa = next(source.glob("copa/text-seed0-*"))
    prompt = Run.at(copa).best_prompt()
    replace(prompt, matrix=prompt.matrix + 0.1).save(copa / "prompt.safetensors")
    reseal(copa)
    from_prompts, from_means, reasons = found()
    assert [run.path for run in from_prompts] == [kept.path] and not from_means
    assert set(reasons) - set(unlike) == {
        f"{run.path}: its sources have changed since it was trained" for run in (changed, changed_mean)
    }


def test_the_section_on_lengths(trained_sweep: Path, tmp_path: Path) -> None:
    own = settings_of(trained_sweep, "cb")
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


def test_sweeps_without_such_runs_have_neither_section(trained_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(trained_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["spot", "lengths", "norms"]), CONSOLE)
    page = (copy / "analysis/report.html").read_text()
    assert (
        "Norms and distances" in page
        and "Lengths of prompts" not in page
        and "another task's prompt" not in page
    )
