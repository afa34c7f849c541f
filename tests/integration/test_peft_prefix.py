"""Prefixes go to PEFT and come from it without a difference."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel, PrefixTuningConfig, get_peft_model
from rich.console import Console
from transformers import AutoModelForCausalLM

import softprompt
from softprompt import peft
from softprompt.adapter import CONFIG, read_adapter
from softprompt.data.batch import Batch
from softprompt.errors import UserError
from softprompt.library import TrainedPrompt
from softprompt.settings import PrefixSettings, PromptSettings, Settings
from softprompt.training.train import train_pack
from tests.conftest import composed, make_model, make_tokenizer
from tests.unit.test_prefix import peft_logits

QUIET = Console(quiet=True)
PREFIX = PrefixSettings("prefix", None)
PAIRS = [([7, 8, 9, 10], [11, 2]), ([12, 13], [14, 15, 2]), ([5], [6, 2])]


def save_model(kind: str, folder: Path) -> Path:
    """A tiny model as a user would have it on disk."""
    make_model(kind).save_pretrained(folder / kind)
    make_tokenizer().save_pretrained(folder / kind)
    return folder / kind


def save_adapter(model: Path, folder: Path, projection: bool = False) -> Path:
    """A prefix with random weights, as PEFT writes it."""
    config = PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=5, prefix_projection=projection, encoder_hidden_size=16
    )
    torch.manual_seed(1)
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(folder)
    return folder


def scored(settings: Settings, adapter: Path) -> Settings:
    """A run that scores a prefix without training it."""
    return replace(
        settings,
        method=PREFIX,
        prompt=PromptSettings(init="file", path=str(adapter)),
        trainer=replace(settings.trainer, max_steps=0),
    )


def logits_of(trained: TrainedPrompt) -> torch.Tensor:
    with torch.no_grad():
        return trained.backbone.answer_logits([trained.prompt.matrix], Batch.of_pairs(PAIRS))


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("kind", ["bloom", "llama", "gpt2"])
def test_a_prefix_of_peft_has_peft_s_logits(
    settings: Settings, tmp_path: Path, kind: str, projection: bool
) -> None:
    folder = save_model(kind, tmp_path)
    adapter = save_adapter(folder, tmp_path / "adapter", projection)
    # No token stands in front of a prefix, whatever model.bos says.
    model = replace(settings.model, id=str(folder), bos=kind == "llama")
    (run,) = train_pack([scored(replace(settings, model=model), adapter)], QUIET)
    assert run.result()["steps"] == 0 and run.best_prompt().bos is None
    base = AutoModelForCausalLM.from_pretrained(folder)
    theirs = PeftModel.from_pretrained(base, str(adapter)).eval()
    with torch.no_grad():
        reference = torch.cat([peft_logits(theirs, text, answer) for text, answer in PAIRS])
    torch.testing.assert_close(logits_of(softprompt.load(run.path)), reference, rtol=1e-5, atol=1e-5)


def test_an_exported_prefix_is_imported_without_a_difference(settings: Settings, tmp_path: Path) -> None:
    (run,) = train_pack([replace(settings, method=PREFIX, optim=replace(settings.optim, lr=None))], QUIET)
    adapter = tmp_path / "adapter"
    peft.export(run.path, adapter)
    assert torch.equal(read_adapter(adapter).matrix, run.best_prompt().matrix)
    (imported,) = train_pack([scored(settings, adapter)], QUIET)
    assert torch.equal(imported.best_prompt().matrix, run.best_prompt().matrix)
    assert torch.equal(logits_of(softprompt.load(imported.path)), logits_of(softprompt.load(run.path)))
    assert imported.result()["tuned"] == pytest.approx(run.result()["tuned"], rel=1e-6)
    further = replace(scored(settings, adapter), trainer=settings.trainer)
    (trained,) = train_pack([further], QUIET)
    assert torch.equal(trained.initial_prompt().matrix, run.best_prompt().matrix)
    assert trained.result()["steps"] > 0


def test_the_command_imports_a_prefix_as_one(
    settings: Settings, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = save_adapter(model_folder, tmp_path / "adapter")
    given: list[Settings] = []
    monkeypatch.setattr(sys, "argv", ["peft", "import", str(adapter), "task=cb"])
    monkeypatch.setattr(peft, "train", lambda: given.append(composed(*sys.argv[1:])))
    peft.main()
    assert given[0].method == PREFIX and given[0].trainer.max_steps == 0 and given[0].model.bos is False


def test_a_prefix_of_another_model_is_refused(settings: Settings, tmp_path: Path) -> None:
    # As wide as the model's (2 layers of 4 heads), with other layers.
    adapter = save_adapter(save_model("gpt2", tmp_path), tmp_path / "adapter")
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**config, "num_attention_heads": 2}))
    with pytest.raises(
        UserError, match=r"is 128 wide \(2 layers, the first with 2 heads of 16 and 16\), and the"
    ):
        train_pack([scored(settings, adapter)], QUIET)
    (adapter / CONFIG).write_text(json.dumps({**config, "num_layers": 3}))
    with pytest.raises(UserError, match="prompt_embeddings is 128 wide, and should be 192 by the layers of"):
        read_adapter(adapter)
    (adapter / CONFIG).write_text(json.dumps({**config, "token_dim": None}))
    with pytest.raises(UserError, match=r"adapter_config\.json: num_layers=2, .* token_dim=None: should be"):
        read_adapter(adapter)
    narrow = save_adapter(save_model("llama", tmp_path), tmp_path / "narrow")  # two of four heads have keys
    with pytest.raises(UserError, match=r"this prefix is 64 wide .* are 128 wide"):
        train_pack([scored(settings, narrow)], QUIET)


def test_a_prompt_cannot_start_from_a_prefix_of_peft(
    settings: Settings, tmp_path: Path, model_folder: Path
) -> None:
    adapter = save_adapter(model_folder, tmp_path / "adapter")
    with pytest.raises(UserError, match=r"adapter_model\.safetensors: holds keys and values"):
        train_pack([replace(scored(settings, adapter), method=settings.method)], QUIET)
