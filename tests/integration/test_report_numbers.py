"""The numbers of the report on a small sweep, computed again from the files of its runs."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file
from scipy.stats import spearmanr

from softprompt.report.sections.neighbours import random_vectors
from softprompt.report.write import write_report
from softprompt.study import Study
from tests.conftest import reseal
from tests.integration.small_sweep import ANALYSIS


def test_the_numbers_are_the_runs_numbers(small_sweep: Path) -> None:
    transfer = pd.read_csv(small_sweep / "analysis/tables/transfer.csv")
    results = [json.loads(path.read_text()) for path in small_sweep.glob("*/*/result.json")]
    same_task = transfer[(transfer["source"] == transfer["target"]) & (transfer["score"] == "exact match")]
    for row in same_task.to_dict("records"):
        runs = [r for r in results if r["task"] == row["source"] and r["init"] == row["variant"]]
        tuned = sum(run["tuned"]["exact_match"] for run in runs) / len(runs)
        bare = runs[0]["baselines"]["no_prompt"]["exact_match"]
        assert row["gain"] == pytest.approx(100 * (tuned - bare), abs=1e-3)
    ranked = transfer[(transfer["source"] == transfer["target"]) & (transfer["score"] == "rank accuracy")]
    for row in ranked.to_dict("records"):
        runs = [r for r in results if r["task"] == row["source"] and r["init"] == row["variant"]]
        tuned = sum(run["tuned"]["rank_accuracy"] for run in runs) / len(runs)
        assert row["with_prompt"] == pytest.approx(tuned, abs=1e-4)


def test_the_accuracy_up_to_a_label_map_is_that_of_the_most_likely_answers(small_sweep: Path) -> None:
    """From the model's own forward pass over prompt, text and each answer of both tasks."""
    study = Study(small_sweep, Console(quiet=True), ANALYSIS)
    grid = pd.read_csv(small_sweep / "analysis/tables/transfer.csv")
    model, tokenizer = study.backbone.model, study.backbone.tokenizer
    target, source = study.targets["rte"], study.targets["cb"]
    names = list(dict.fromkeys([*target.task.verbalizers, *source.task.verbalizers]))
    assert len(names) == 4  # both tasks answer "entailment"
    shares = []
    for index in study.labels.query("task == 'cb' and variant == 'random'").index:
        written = []
        for rendered in target.rendered:
            scores = []
            for name in names:
                ids = tokenizer(f"{rendered.text} {name}", add_special_tokens=False)["input_ids"]
                before = len(tokenizer(rendered.text, add_special_tokens=False)["input_ids"])
                ids = torch.tensor([*ids, tokenizer.eos_token_id])
                rows = torch.cat([study.prompts[index].matrix, model.get_input_embeddings()(ids)])
                with torch.no_grad():
                    likely = model(inputs_embeds=rows[None]).logits[0, -len(ids) - 1 : -1].log_softmax(-1)
                scores.append(float(likely[range(before, len(ids)), ids[before:]].sum()))
            written.append(int(np.argmax(scores)))
        labels, right = [rendered.label for rendered in target.rendered], 0
        for position, (answer, label) in enumerate(zip(written, labels, strict=True)):
            fitted = [i for i in range(len(labels)) if (i - position) % 2]
            counts = Counter(labels[i] for i in fitted if written[i] == answer)
            overall = Counter(labels[i] for i in fitted)
            right += label == min(range(2), key=lambda name: (-counts[name], -overall[name], name))
        shares.append(right / len(labels))
    row = grid[
        (grid["source"] == "cb") & (grid["target"] == "rte") & (grid["variant"] == "random")
        & (grid["score"] == "accuracy up to a label map")
    ]  # fmt: skip
    assert row["with_prompt"].item() == pytest.approx(np.mean(shares))


def test_a_ceiling_in_the_model_s_folder_bounds_the_gains(small_sweep: Path) -> None:
    transfer = pd.read_csv(small_sweep / "analysis/tables/transfer.csv")
    of_cb = transfer[(transfer["target"] == "cb") & transfer["score"].isin(["exact match", "rank accuracy"])]
    assert (of_cb["ceiling"] == 0.9).all() and (transfer.drop(of_cb.index)["ceiling"] == 1).all()
    assert (
        of_cb["high"] <= 100 * (of_cb[["ceiling", "with_prompt"]].max(axis=1) - of_cb["baseline"]) + 1e-9
    ).all()
    assert of_cb["share_of_possible"].to_numpy() == pytest.approx(
        of_cb["gain"] / 100 / (0.9 - of_cb["baseline"])
    )


def test_similarity_is_the_negative_mean_distance_and_correlates_with_both_gains(small_sweep: Path) -> None:
    tables = small_sweep / "analysis/tables"
    similarity, distances = (pd.read_csv(tables / f"{name}.csv") for name in ("similarity", "distances"))
    variant = dict(
        zip(*(pd.read_csv(tables / "norms.csv")[name] for name in ("run", "variant")), strict=True)
    )
    for row in similarity[(similarity["measure"] == "frobenius (resample)")].to_dict("records"):
        pairs = distances[
            (distances["space"] == row["space"])
            & (distances["first"].map(variant) == row["variant"])
            & (distances["second"].map(variant) == row["variant"])
        ]
        tasks = [set(pair) for pair in zip(pairs["first_task"], pairs["second_task"], strict=True)]
        chosen = pairs[[pair == {row["source"], row["target"]} for pair in tasks]]
        assert row["similarity"] == pytest.approx(-chosen["distance"].mean(), rel=1e-4)
    correlations = pd.read_csv(tables / "similarity_correlation.csv")
    transfer = pd.read_csv(tables / "transfer.csv")
    key = ["source", "target", "variant"]
    for row in correlations[correlations["measure"] == "frobenius (resample)"].to_dict("records"):
        gains = transfer[(transfer["score"] == row["gain"]) & (transfer["source"] != transfer["target"])]
        alike = similarity[
            (similarity["measure"] == row["measure"]) & (similarity["space"] == row["space"])
            & (similarity["variant"] == row["variant"])
        ]  # fmt: skip
        pairs = alike.merge(gains, on=key)
        assert len(pairs) == row["pairs"] == 6
        if pairs["gain"].round(9).nunique() > 1:
            rho = spearmanr(pairs["similarity"], pairs["gain"].round(9)).statistic
            assert row["spearman"] == pytest.approx(rho, abs=1e-6)
        assert not row["p_adjusted"] < row["p"]
    assert set(correlations["gain"]) == {"exact match", "rank accuracy"}


def test_the_spread_is_that_of_the_runs_files_and_starts_from_text_have_none(small_sweep: Path) -> None:
    spread = pd.read_csv(small_sweep / "analysis/tables/spread.csv")
    raw = spread[spread["space"] == "raw"]
    assert len(raw) == 6 and (raw["runs"] == 2).all()
    for row in raw.to_dict("records"):
        runs = sorted(small_sweep.glob(f"{row['task']}/{row['variant']}-seed*"))
        for name, prefix in (("prompt", ""), ("initial", "initial_")):
            prompts = [load_file(run / f"{name}.safetensors")["prompt"].astype(float) for run in runs]
            variance = np.var([np.linalg.norm(prompt) for prompt in prompts], ddof=1)
            distance = ((prompts[0] - prompts[1]) ** 2).sum() / 2
            assert row[f"{prefix}norm_variance"] == pytest.approx(variance, rel=1e-4, abs=1e-12)
            assert row[f"{prefix}mean_squared_distance"] == pytest.approx(distance, rel=1e-4)
        assert (row["initial_mean_squared_distance"] == 0) == (row["variant"] == "text")


def test_copies_of_a_kept_prompt_count_once(small_sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    for run in copy.glob("cb/text-seed*"):
        shutil.copy(run / "initial.safetensors", run / "prompt.safetensors")
        reseal(run, best_step=0)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["norms"]), Console(quiet=True))
    spread = pd.read_csv(copy / "analysis/tables/spread.csv").set_index(["task", "variant", "space"])
    kept = spread.loc[("cb", "text", "raw")]
    assert kept["runs"] == 1 and np.isnan(kept["norm_variance"])
    assert spread.loc[("cb", "random", "raw")]["runs"] == 2


def test_a_hardly_tuned_text_prompt_keeps_its_tokens(small_sweep: Path) -> None:
    neighbours = pd.read_csv(small_sweep / "analysis/tables/neighbours.csv", keep_default_na=False)
    nearest = neighbours[
        (neighbours["rank"] == 1)
        & (neighbours["variant"] == "text")
        & (neighbours["space"] == "raw")
        & (neighbours["prompt"] == "tuned")
    ]
    # In two epochs a row moves less than the distance to another token.
    assert nearest["kept"].astype(str).eq("True").mean() > 0.9
    assert (nearest["distance_from_initial"].astype(float) > 0).all()
    assert "dog" in set(neighbours.loc[neighbours["in_lexicon"].astype(str) == "True", "token"])


def test_random_vectors_are_no_runs_start(small_sweep: Path) -> None:
    for task in ("cb", "rte", "copa"):
        for run in small_sweep.glob(f"{task}/*"):
            if (run / "initial.safetensors").exists():
                start = load_file(run / "initial.safetensors")["prompt"]
                noise = random_vectors(task, start.shape).numpy()
                lengths = np.linalg.norm(start, axis=1) * np.linalg.norm(noise, axis=1)
                assert ((start * noise).sum(1) / lengths).max() < 0.999


def test_readings_are_scored_where_the_words_are_known(small_sweep: Path) -> None:
    table = pd.read_csv(small_sweep / "analysis/tables/readings.csv")
    assert set(table["truth"]) == {"taught words", "functional words"} and set(table["task"]) == {"cb"}
    assert set(table["reading"]) == {
        "nearest", "displacement", "mean displacement", "logit lens", "logit lens, middle layer", "elicitation",
        "pruning, backward", "pruning, forward",
    }  # fmt: skip
    # Random starts differ by seed, so that their displacements have no mean.
    assert set(table[table["reading"] == "mean displacement"]["variant"]) == {"text"}
    words = pd.read_csv(small_sweep / "analysis/tables/readings_words.csv")
    assert set(words["task"]) == {"cb", "rte", "copa"} and set(words["prompt"]) == {"tuned", "initial"}


def test_a_pruning_curve_ends_in_no_prompt_and_the_whole_prompt(small_sweep: Path) -> None:
    curves = pd.read_csv(small_sweep / "analysis/tables/pruning.csv")
    tuned = curves[curves["prompt"] == "tuned"]
    for ends in (
        tuned[tuned["rows"] == 0],
        tuned[tuned["rows"] == tuned.groupby("run")["rows"].transform("max")],
    ):
        assert (ends.groupby(["task", "run"])["loss"].nunique() == 1).all()  # in every order
    assert set(curves["n"]) == {8 - 3}  # chosen on 3 examples of 8, scored on the others


def test_every_row_of_every_run_is_ablated(small_sweep: Path) -> None:
    table = pd.read_csv(small_sweep / "analysis/tables/ablation.csv")
    assert set(table["edit"]) == {"dropped", "initial row", "nearest token", "mean embedding"}
    assert table["loss_change"].notna().all() and (table["examples"] == 3).all()
    per_run = table.groupby("run")["row"].nunique()
    rows = {
        json.loads(p.read_text())["run"]: json.loads(p.read_text())["rows"]
        for p in small_sweep.glob("*/*/result.json")
    }
    assert per_run.to_dict() == rows


def test_a_variant_without_runs_of_a_task_is_compared_over_the_others(
    small_sweep: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy)
    for run in copy.glob("cb/random-*"):
        shutil.rmtree(run)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["similarity"]), Console(quiet=True))
    table = pd.read_csv(copy / "analysis/tables/similarity_correlation.csv")
    assert set(table["variant"]) == {"text"}  # the other has two tasks, which are too few


def test_runs_that_kept_their_initial_prompt_are_left_out_of_equidistance(
    small_sweep: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small_sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    path = next(copy.glob("cb/text-seed0-*/result.json"))
    reseal(path.parent, best_step=0)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["norms"]), Console(quiet=True))
    groups = {}
    for folder in (small_sweep, copy):
        table = pd.read_csv(folder / "analysis/tables/equidistance.csv")
        groups[folder] = set(zip(table["task"], table["variant"], strict=True))
    assert groups[small_sweep] - groups[copy] == {("cb", "text")}
