"""Runs of every method: alone and in packs, resumed, saved and loaded."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from rich.console import Console
from transformers import AutoModelForCausalLM

import softprompt
from softprompt.backbone import load_backbone
from softprompt.data.batch import Batch
from softprompt.errors import UserError
from softprompt.methods.hard import allowed_tokens
from softprompt.peft import export
from softprompt.settings import (
    AutoPromptSettings,
    MethodSettings,
    PezSettings,
    PrefixSettings,
    PromptSettings,
    ResidualSettings,
    Settings,
)
from softprompt.training.train import train_pack
from tests.conftest import cb_records
from tests.integration.interrupted import cut_off
from tests.integration.test_packs import assert_equal, curve
from tests.unit.test_prefix import peft_logits

QUIET = Console(quiet=True)
METHODS: dict[str, MethodSettings] = {
    "residual": ResidualSettings("residual", 8),
    "prefix": PrefixSettings("prefix", None),
    "prefix with a network": PrefixSettings("prefix", 8),
    "pez": PezSettings("pez"),
    "autoprompt": AutoPromptSettings("autoprompt", candidates=6, side_by_side=4),
}


@pytest.fixture(params=METHODS, ids=str)
def own(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """A run of a method, with the learning rate that goes with it."""
    method = METHODS[request.param]
    return replace(settings, method=method, optim=replace(settings.optim, lr=None))


def test_a_run_learns_and_is_another_run_than_prompt_tuning(own: Settings, settings: Settings) -> None:
    prompt, other = train_pack([settings], QUIET) + train_pack([own], QUIET)
    assert prompt.id != other.id and f"-{own.method.name}-" in other.id
    result = other.result()
    assert result["method"] == own.method.name
    losses = [float(row["loss"]) for row in curve(other)]
    assert min(losses) < losses[0] and result["best_step"] > 0


def test_a_run_in_a_pack_is_what_it_would_have_been_alone(own: Settings, tmp_path: Path) -> None:
    pack = [
        own,
        replace(own, seed=1),
        replace(own, seed=2, prompt=PromptSettings(init="vocab", length=5)),
        replace(own, seed=3, trainer=replace(own.trainer, max_steps=3)),
    ]
    together = train_pack(pack, QUIET)
    alone = [train_pack([replace(run, output_root=str(tmp_path / "alone"))], QUIET)[0] for run in pack]
    for mine, other in zip(together, alone, strict=True):
        assert_equal(mine, other)


@pytest.mark.parametrize("at_step", [1, 3, 4])  # in the first epoch, in the middle of the second, at its end
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(
    own: Settings, tmp_path: Path, at_step: int
) -> None:
    own = replace(own, trainer=replace(own.trainer, checkpoint_seconds=0.0))
    (whole,) = train_pack([own], QUIET)
    cut = replace(own, output_root=str(tmp_path / "cut"))
    with cut_off(at_step):
        train_pack([cut], QUIET)
    (resumed,) = train_pack([cut], QUIET)
    assert curve(resumed) == curve(whole)
    for name in ("prompt.safetensors", "initial.safetensors"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_loaded_run_scores_as_it_did(own: Settings) -> None:
    (run,) = train_pack([own], QUIET)
    trained = softprompt.load(run.path)
    scores = trained.score(cb_records(20)[12:])
    tuned = run.result()["tuned"]
    assert scores.exact_match == tuned["exact_match"]
    assert scores.loss == pytest.approx(tuned["loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["pez", "autoprompt"])
def test_a_discrete_prompt_is_a_text_of_allowed_tokens(settings: Settings, name: str) -> None:
    (run,) = train_pack([replace(settings, method=METHODS[name])], QUIET)
    text = run.result()["text"]
    backbone = load_backbone(settings.model, torch.float32)
    torch.testing.assert_close(run.best_prompt().matrix, backbone.embed(text["tokens"]))
    assert set(text["tokens"]) <= set(allowed_tokens(backbone, list(settings.task.verbalizers)).tolist())
    assert text["text"] == backbone.tokenizer.decode(text["tokens"])
    assert text["same_tokens"] == (backbone.tokens_of(text["text"]) == text["tokens"])
    if text["same_tokens"]:
        assert text["exact_match"] == run.result()["tuned"]["exact_match"]


def test_a_step_of_the_search_exchanges_at_most_one_token_and_lowers_the_loss(settings: Settings) -> None:
    own = replace(settings, method=METHODS["autoprompt"])
    limits = replace(settings.trainer, max_steps=1, batch_size=12)  # all training examples at once
    (run,) = train_pack([replace(own, trainer=limits)], QUIET)
    changed = (run.best_prompt().matrix != run.initial_prompt().matrix).any(1)
    assert changed.sum() <= 1
    examples = cb_records(12)
    after, before = softprompt.load(run.path).score(examples).loss, float(curve(run)[-1]["train_loss"])
    assert after <= before + 1e-5  # the training loss of a step is that before the exchange


def test_a_search_from_rows_that_are_no_tokens_is_refused(settings: Settings) -> None:
    own = replace(settings, method=METHODS["autoprompt"], prompt=PromptSettings(init="random"))
    with pytest.raises(UserError, match=r"^prompt\.init=random: method=autoprompt starts from tokens"):
        train_pack([own], QUIET)


def test_an_exported_prefix_gives_equal_logits_in_peft(settings: Settings, tmp_path: Path) -> None:
    own = replace(settings, method=METHODS["prefix"], optim=replace(settings.optim, lr=None))
    (run,) = train_pack([own], QUIET)
    export(run.path, tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(settings.model.id)
    peft_model = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    trained = softprompt.load(run.path)
    pairs = [([7, 8, 9, 10], [11, 2]), ([12, 13], [14, 15, 2])]
    ours = trained.backbone.answer_logits([trained.prompt.matrix], Batch.of_pairs(pairs))
    theirs = torch.cat([peft_logits(peft_model, text, answer) for text, answer in pairs])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["prefix", "prefix with a network"])
def test_a_prefix_starts_from_another_prefix(settings: Settings, method: str) -> None:
    (source,) = train_pack([replace(settings, method=METHODS["prefix"])], QUIET)
    best, scores = source.best_prompt().matrix, source.result()["tuned"]
    own = replace(settings, method=METHODS[method], optim=replace(settings.optim, lr=None))
    starts = [
        PromptSettings(init="file", path=str(source.path)),
        PromptSettings(init="run", run=str(source.path.parent / "text-seed{seed}-prefix-*")),
    ]
    for start in starts:
        (run,) = train_pack([replace(own, prompt=start, sweep="further")], QUIET)
        assert torch.equal(run.initial_prompt().matrix, best) and run.initial_prompt().method == "prefix"
        first = curve(run)[0]
        assert float(first["loss"]) == pytest.approx(scores["loss"], rel=1e-5) and first["step"] == "0"
        assert run.result()["steps"] > 0
    longer = replace(own, prompt=replace(starts[0], length=len(best) + 2))
    with pytest.raises(UserError, match=r"prompt\.length=\d+: .* holds a prefix, which is taken as it is"):
        train_pack([longer], QUIET)


@pytest.mark.parametrize("method", ["prompt", "pez", "autoprompt"])
def test_other_methods_cannot_start_from_a_prefix(settings: Settings, method: str) -> None:
    (run,) = train_pack([replace(settings, method=METHODS["prefix"])], QUIET)
    own = replace(settings, method=METHODS.get(method, settings.method))
    start = PromptSettings(init="file", path=str(run.path))
    refused = (
        rf"prompt\.safetensors: holds keys and values \(method=prefix\), and method={method} starts from"
    )
    with pytest.raises(UserError, match=refused):
        train_pack([replace(own, prompt=start)], QUIET)
