"""The report on a small sweep; the page is opened in a browser if there is one."""

import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.numpy import load_file
from scipy.stats import spearmanr

from softprompt.backbone import Backbone
from softprompt.errors import UserError
from softprompt.report import registry, sections
from softprompt.report.sections.neighbours import random_vectors
from softprompt.report.write import write_report
from softprompt.settings import AnalysisSettings, Elicitation, Published, PublishedNorms
from softprompt.study import Study
from softprompt.training.train import train_pack
from tests.conftest import ROOT, WORDS, composed, make_model, make_tokenizer, reseal, wandb_holds

HOSTILE = "<script>document.title='owned'</script>"
CONTROL = "\x01\x1b[31m\x7f"
BROWSER = shutil.which("chromium")
ANALYSIS = AnalysisSettings(
    sweep="-",
    parts=None,
    neighbours=2,
    alignment="resample",
    lexicon=["dog"],
    ablation_examples=3,
    elicitation=Elicitation("Answer:", "Answer:"),
    wordings={"cb": ["a dog", "a cat"]},
    published=[Published("cb", "elsewhere", 43, 61)],
    published_norms=[PublishedNorms("cb", "elsewhere, table 1", 119.2, 1.31)],
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """Three tasks, two initialisers, two seeds; the model's vocabulary has tokens that a page must escape."""
    root = tmp_path_factory.mktemp("sweep")
    model = root / "model"
    make_model("bloom").save_pretrained(model)
    make_tokenizer([*WORDS, HOSTILE, CONTROL, "&amp;", "\\$x_1$", "[bold]"]).save_pretrained(model)
    truth = {
        "instructions": ["x"],
        "words": ["entail,", "or"],
        "functional_words": {word: {"exact_match": 0.0, "rank_accuracy": 0.1 * len(word)} for word in WORDS},
        "functional_no_prompt": {"exact_match": 0.0, "rank_accuracy": 0.3},
        "ceiling": 0.9,
    }
    (model / "truth.json").write_text(json.dumps({"cb": truth}))
    for task in ("cb", "rte", "copa"):
        pack = []
        for init in ("text", "random"):
            for seed in (0, 1):
                settings = composed(
                    f"task={task}", f"prompt={init}", f"seed={seed}", "data=superglue_jsonl",
                    f"data.root={data_folder}", f"model.id={model}", "model.package=null", "trainer=cpu",
                    "trainer.max_epochs=2", "optim.lr=0.05", "sweep=small", f"output_root={root}",
                )  # fmt: skip
                pack.append(settings)
        train_pack(pack, Console(quiet=True))
    write_report(replace(ANALYSIS, sweep=str(root / "small")), Console(quiet=True))
    return root / "small"


def test_every_table_and_figure_is_there(sweep: Path) -> None:
    made = sweep / "analysis"
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
    prompt = next(sweep.glob(f"*/{about['runs'][0]['run']}/prompt.safetensors"))
    assert about["runs"][0]["prompt"] == hashlib.sha256(prompt.read_bytes()).hexdigest()


def test_the_numbers_are_the_runs_numbers(sweep: Path) -> None:
    transfer = pd.read_csv(sweep / "analysis/tables/transfer.csv")
    results = [json.loads(path.read_text()) for path in sweep.glob("*/*/result.json")]
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


def test_the_accuracy_up_to_a_label_map_is_that_of_the_most_likely_answers(sweep: Path) -> None:
    """From the model's own forward pass over prompt, text and each answer of both tasks."""
    study = Study(sweep, Console(quiet=True), ANALYSIS)
    grid = pd.read_csv(sweep / "analysis/tables/transfer.csv")
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


def test_a_ceiling_in_the_model_s_folder_bounds_the_gains(sweep: Path) -> None:
    transfer = pd.read_csv(sweep / "analysis/tables/transfer.csv")
    of_cb = transfer[(transfer["target"] == "cb") & (transfer["score"] == "exact match")]
    assert (of_cb["ceiling"] == 0.9).all() and (transfer.drop(of_cb.index)["ceiling"] == 1).all()
    assert (
        of_cb["high"] <= 100 * (of_cb[["ceiling", "with_prompt"]].max(axis=1) - of_cb["baseline"]) + 1e-9
    ).all()
    assert of_cb["share_of_possible"].to_numpy() == pytest.approx(
        of_cb["gain"] / 100 / (0.9 - of_cb["baseline"])
    )


def test_similarity_is_the_negative_mean_distance_and_correlates_with_both_gains(sweep: Path) -> None:
    tables = sweep / "analysis/tables"
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


def test_the_spread_is_that_of_the_runs_files_and_starts_from_text_have_none(sweep: Path) -> None:
    spread = pd.read_csv(sweep / "analysis/tables/spread.csv")
    raw = spread[spread["space"] == "raw"]
    assert len(raw) == 6 and (raw["runs"] == 2).all()
    for row in raw.to_dict("records"):
        runs = sorted(sweep.glob(f"{row['task']}/{row['variant']}-seed*"))
        for name, prefix in (("prompt", ""), ("initial", "initial_")):
            prompts = [load_file(run / f"{name}.safetensors")["prompt"].astype(float) for run in runs]
            variance = np.var([np.linalg.norm(prompt) for prompt in prompts], ddof=1)
            distance = ((prompts[0] - prompts[1]) ** 2).sum() / 2
            assert row[f"{prefix}norm_variance"] == pytest.approx(variance, rel=1e-4, abs=1e-12)
            assert row[f"{prefix}mean_squared_distance"] == pytest.approx(distance, rel=1e-4)
        assert (row["initial_mean_squared_distance"] == 0) == (row["variant"] == "text")


def test_findings_stand_beside_their_null_and_captions_are_sentences(sweep: Path) -> None:
    page = (sweep / "analysis/report.html").read_text()
    for part in (
        "because runs of a task start alike",
        "With m tasks no p can be below 2/m!",
        "<td>elsewhere, table 1</td><td>119</td><td>1.31</td>",  # beside the task of the same name
    ):
        assert part in page
    captions = re.findall("<figcaption>(.*)</figcaption>", page)
    assert sum(caption.endswith(".") and " " in caption for caption in captions) >= 3
    nearest = pd.read_csv(sweep / "analysis/tables/nearest_prompt.csv").set_index(["variant", "prompts"])
    assert nearest["same_task"]["text", "start"] == 6  # two runs of each of three tasks start alike
    assert not nearest["starts_differ"]["text", "start"] and nearest["starts_differ"]["random", "start"]


def test_copies_of_a_kept_prompt_count_once(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    for run in copy.glob("cb/text-seed*"):
        shutil.copy(run / "initial.safetensors", run / "prompt.safetensors")
        reseal(run, best_step=0)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["norms"]), Console(quiet=True))
    spread = pd.read_csv(copy / "analysis/tables/spread.csv").set_index(["task", "variant", "space"])
    kept = spread.loc[("cb", "text", "raw")]
    assert kept["runs"] == 1 and np.isnan(kept["norm_variance"])
    assert spread.loc[("cb", "random", "raw")]["runs"] == 2


def test_a_hardly_tuned_text_prompt_keeps_its_tokens(sweep: Path) -> None:
    neighbours = pd.read_csv(sweep / "analysis/tables/neighbours.csv", keep_default_na=False)
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


def test_a_second_report_uses_the_cached_answers_and_is_equal(
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
    monkeypatch.setattr("softprompt.answers.score_all", None)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))
    assert [path.read_bytes() for path in drawn] == before


def test_damaged_answers_in_the_cache_are_computed_again(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy)
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


def test_a_smaller_report_leaves_no_older_tables(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy)
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


def test_prompts_that_are_all_the_same_are_not_projected(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    first = next(copy.glob("cb/text-seed0-*")) / "prompt.safetensors"
    content = first.read_bytes()
    for run in copy.glob("*/*-seed*"):
        (run / "prompt.safetensors").write_bytes(content)
        reseal(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        write_report(replace(ANALYSIS, sweep=str(copy), parts=["norms", "projection"]), Console(quiet=True))
    assert not (copy / "analysis/figures/projection.png").exists()


def test_control_characters_of_the_vocabulary_are_shown_as_numbers(sweep: Path) -> None:
    study = Study(sweep, Console(quiet=True), replace(ANALYSIS, sweep=str(sweep)))
    token = study.backbone.tokenizer.convert_tokens_to_ids(CONTROL)
    assert token != study.backbone.tokenizer.unk_token_id
    assert study.text_of(token) == r"\x01\x1b[31m\x7f"
    page = (sweep / "analysis/report.html").read_text()
    assert not set(page) & set("\x01\x1b\x7f")


def test_runs_without_checksums_are_read_with_one_warning(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
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
    sweep: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    run = next(copy.glob("cb/text-seed0-*"))
    (run / "result.json").unlink()
    options = replace(ANALYSIS, sweep=str(copy), parts=["norms"])
    with pytest.raises(UserError, match=rf"{run}: this run is not finished; train or remove"):
        write_report(options, Console(quiet=True))
    write_report(replace(options, unfinished="skip"), Console(quiet=True))
    assert json.loads((copy / "analysis/analysis.json").read_text())["left_out"] == [str(run)]
    assert f"{run}" in (copy / "analysis/report.html").read_text()


def test_a_report_of_one_part(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["projection"]), Console(quiet=True))
    assert {path.stem for path in (copy / "analysis/tables").iterdir()} == {"projection", "nearest_prompt"}


NEW_READING = """
import pandas as pd

from softprompt.report.registry import Section, section


def length_table(labels, prompts):
    return labels.assign(rows=[len(prompt) for prompt in prompts])


@section(place=15)
def lengths(study, settings):
    table = length_table(study.labels, [prompt.matrix for prompt in study.prompts])
    finding = f"The longest prompt has {table['rows'].max()} rows."
    return Section("Lengths of prompts", "Rows per prompt.", [finding], tables={"lengths": table})
"""


def test_random_vectors_are_no_runs_start(sweep: Path) -> None:
    for task in ("cb", "rte", "copa"):
        for run in sweep.glob(f"{task}/*"):
            if (run / "initial.safetensors").exists():
                start = load_file(run / "initial.safetensors")["prompt"]
                noise = random_vectors(task, start.shape).numpy()
                lengths = np.linalg.norm(start, axis=1) * np.linalg.norm(noise, axis=1)
                assert ((start * noise).sum(1) / lengths).max() < 0.999


def test_readings_are_scored_where_the_words_are_known(sweep: Path) -> None:
    table = pd.read_csv(sweep / "analysis/tables/readings.csv")
    assert set(table["truth"]) == {"taught words", "functional words"} and set(table["task"]) == {"cb"}
    assert set(table["reading"]) == {
        "nearest", "displacement", "mean displacement", "logit lens", "logit lens, middle layer", "elicitation",
        "pruning, backward", "pruning, forward",
    }  # fmt: skip
    # Random starts differ by seed, so that their displacements have no mean.
    assert set(table[table["reading"] == "mean displacement"]["variant"]) == {"text"}
    words = pd.read_csv(sweep / "analysis/tables/readings_words.csv")
    assert set(words["task"]) == {"cb", "rte", "copa"} and set(words["prompt"]) == {"tuned", "initial"}


def test_a_pruning_curve_ends_in_no_prompt_and_the_whole_prompt(sweep: Path) -> None:
    curves = pd.read_csv(sweep / "analysis/tables/pruning.csv")
    tuned = curves[curves["prompt"] == "tuned"]
    for ends in (
        tuned[tuned["rows"] == 0],
        tuned[tuned["rows"] == tuned.groupby("run")["rows"].transform("max")],
    ):
        assert (ends.groupby(["task", "run"])["loss"].nunique() == 1).all()  # in every order
    assert set(curves["n"]) == {8 - 3}  # chosen on 3 examples of 8, scored on the others


def test_a_start_from_another_tasks_instruction_is_shown(
    sweep: Path, data_folder: Path, tmp_path: Path
) -> None:
    copa = yaml.safe_load((ROOT / "conf/task/copa.yaml").read_text())["instruction"]
    for task, *text in (["cb", f"prompt.text='{copa}'"], ["cb"], ["copa"]):
        settings = composed(
            f"task={task}", "prompt=text", "data=superglue_jsonl", f"data.root={data_folder}", *text,
            f"model.id={sweep.parent / 'model'}", "model.package=null", "trainer=cpu", "trainer.max_epochs=1",
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
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lengths.py").write_text(NEW_READING)
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_places", dict(registry._places))
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy)
    assert list(registry.all_sections())[:3] == ["scores", "lengths", "neighbours"]
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["lengths", "norms"]), Console(quiet=True))
    page = (copy / "analysis/report.html").read_text()
    assert page.index("The longest prompt has") < page.index("Norms and distances")
    about = json.loads((copy / "analysis/analysis.json").read_text())
    assert about["tables"]["Lengths of prompts"] == ["lengths"]
    assert len(pd.read_csv(copy / "analysis/tables/lengths.csv")) == 12


def test_an_unknown_part_is_refused_with_the_known_ones(sweep: Path) -> None:
    with pytest.raises(UserError) as error:
        write_report(replace(ANALYSIS, sweep=str(sweep), parts=["scores", "tsne"]), Console(quiet=True))
    assert str(error.value) == (
        "parts='tsne': there is no such part; the parts are scores, neighbours, readings, ablation, pruning, "
        "hard_prompt, waywardness, projection, norms, interpolation, difficulty, transfer, similarity"
    )


def test_the_page_explains_the_spaces_once_before_they_are_named(sweep: Path, tmp_path: Path) -> None:
    page = (sweep / "analysis/report.html").read_text()
    assert page.count("compared in three spaces") == 1
    body = page[page.index("<section") :]
    assert (
        body.index("<h2>Nearest tokens</h2>") < body.index("compared in three spaces") < body.index("(raw)")
    )
    assert "as read" not in page
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))
    assert "compared in three spaces" not in (copy / "analysis/report.html").read_text()


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
    reseal(config.parent)
    with pytest.raises(UserError, match="its runs are of 2 models"):
        write_report(replace(ANALYSIS, sweep=str(copy)), Console(quiet=True))


def test_a_sweep_with_wandb_logs_its_report_to_wandb(sweep: Path, tmp_path: Path) -> None:
    run = next(sweep.glob("cb/text-seed0-*"))
    copy = tmp_path / "one" / "cb" / run.name
    shutil.copytree(run, copy)
    config = copy / "config.yaml"
    config.write_text(
        re.sub(r"name: csv\n  project: .*", "name: wandb\n  project: softprompt", config.read_text())
    )
    reseal(copy)
    write_report(replace(ANALYSIS, sweep=str(tmp_path / "one"), parts=["scores"]), Console(quiet=True))
    (recorded,) = (tmp_path / "one/analysis/wandb").glob("offline-run-*/run-*.wandb")
    assert wandb_holds(recorded, b"figures/learning_curves", b"tables/scores_by_task")


def test_runs_with_different_optimisers_are_different_variants(sweep: Path, tmp_path: Path) -> None:
    """The same task and initialiser with another optimiser is another variant, in every table."""
    for run in sorted(sweep.glob("cb/text-*")):
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


def test_every_row_of_every_run_is_ablated(sweep: Path) -> None:
    table = pd.read_csv(sweep / "analysis/tables/ablation.csv")
    assert set(table["edit"]) == {"dropped", "initial row", "nearest token", "mean embedding"}
    assert table["loss_change"].notna().all() and (table["examples"] == 3).all()
    per_run = table.groupby("run")["row"].nunique()
    rows = {
        json.loads(p.read_text())["run"]: json.loads(p.read_text())["rows"]
        for p in sweep.glob("*/*/result.json")
    }
    assert per_run.to_dict() == rows


def test_a_run_without_initial_tokens_has_a_report(sweep: Path, tmp_path: Path) -> None:
    run = next(sweep.glob("cb/random-seed0-*"))
    shutil.copytree(run, tmp_path / "one" / "cb" / run.name)
    parts = ["scores", "neighbours", "readings", "ablation", "similarity", "difficulty"]
    write_report(replace(ANALYSIS, sweep=str(tmp_path / "one"), parts=parts), Console(quiet=True))
    assert (tmp_path / "one/analysis/report.html").exists()


def test_a_variant_without_runs_of_a_task_is_compared_over_the_others(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy)
    for run in copy.glob("cb/random-*"):
        shutil.rmtree(run)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["similarity"]), Console(quiet=True))
    table = pd.read_csv(copy / "analysis/tables/similarity_correlation.csv")
    assert set(table["variant"]) == {"text"}  # the other has two tasks, which are too few


def test_runs_that_kept_their_initial_prompt_are_left_out_of_equidistance(
    sweep: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    path = next(copy.glob("cb/text-seed0-*/result.json"))
    reseal(path.parent, best_step=0)
    write_report(replace(ANALYSIS, sweep=str(copy), parts=["norms"]), Console(quiet=True))
    groups = {}
    for folder in (sweep, copy):
        table = pd.read_csv(folder / "analysis/tables/equidistance.csv")
        groups[folder] = set(zip(table["task"], table["variant"], strict=True))
    assert groups[sweep] - groups[copy] == {("cb", "text")}


def test_a_model_that_has_changed_is_refused(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    path = next(copy.glob("cb/text-seed0-*/result.json"))
    hashes = json.loads(path.read_text())["hashes"]
    reseal(path.parent, hashes={**hashes, "model/config.json": "0"})
    with pytest.raises(UserError, match=r"model/config\.json has changed since this run was trained"):
        write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))


def test_a_prompt_too_long_for_another_task_s_texts_is_an_error(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(sweep, copy, ignore=shutil.ignore_patterns("analysis"))
    monkeypatch.setattr(Backbone, "context_length", 12)
    with pytest.raises(UserError, match=r"prompt rows and .* tokens do not fit the model's context of 12"):
        write_report(replace(ANALYSIS, sweep=str(copy), parts=["transfer"]), Console(quiet=True))


def test_the_page_escapes_tokens(sweep: Path) -> None:
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
    assert "Soft prompts of" in result.stdout
    assert "<title>owned" not in result.stdout
    # The page's policy forbids scripts and requests; an attempt would be reported on the console.
    assert "default-src 'none'" in result.stdout
    assert "CONSOLE" not in result.stderr
    rows = len(list(csv.reader((sweep / "analysis/tables/scores.csv").open())))
    assert result.stdout.count("<svg") >= 7 and rows == 13
