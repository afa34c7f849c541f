"""Models that cannot be used: one line, and no number that is silently wrong."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from softprompt.backbone import load_backbone, model_fingerprint
from softprompt.errors import UserError
from softprompt.settings import Settings
from softprompt.training.train import train_pack
from tests.conftest import make_model
from tests.integration.refusal import refused

WEIGHT = "transformer.h.0.mlp.dense_4h_to_h.weight"
SHAPE = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2}


def changed_model(
    settings: Settings, folder: Path, tokenizer, model: torch.nn.Module | None = None
) -> Settings:
    """The settings with another model, saved in a folder with the tests' tokenizer."""
    (model or make_model("bloom")).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return replace(settings, model=replace(settings.model, id=str(folder)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", f"the weight {WEIGHT} is missing from the files; get the model's files again"),
        ("size", f"the weight {WEIGHT} has another size in the files"),
        ("unexpected", "the weight score.weight is in the files, but not in the model"),
        ("nan", f"the loss without a prompt is nan (its weight {WEIGHT} has values that are not finite)"),
    ],
)
def test_a_model_with_other_weights_than_its_files_is_refused(
    settings: Settings, tmp_path: Path, tokenizer, change: str, message: str
) -> None:
    """transformers fills what is missing with random numbers, each time others."""
    settings = changed_model(settings, tmp_path / "model", tokenizer)
    path = tmp_path / "model" / "model.safetensors"
    weights = load_file(path)
    match change:
        case "missing":
            del weights[WEIGHT]
        case "size":
            weights[WEIGHT] = torch.zeros(3, 3)
        case "unexpected":
            weights["score.weight"] = torch.zeros(3, 32)
        case "nan":
            weights[WEIGHT][0, 0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    assert message in refused(settings)


def test_a_pickle_is_never_read_and_the_command_that_is_named_converts_it(
    settings: Settings, tmp_path: Path, tokenizer
) -> None:
    settings = changed_model(settings, tmp_path / "model", tokenizer)
    weights = tmp_path / "model" / "model.safetensors"
    pickled = weights.with_name("pytorch_model.bin")
    torch.save(load_file(weights), pickled)
    weights.unlink()
    message = refused(settings)
    assert (
        f"model.id={tmp_path / 'model'}: pytorch_model.bin is a pickle, which can run code and is not read"
        in message
    )
    command = message[message.index("python -c") :].removeprefix("python")
    subprocess.run(f"{sys.executable}{command}", shell=True, check=True, capture_output=True, timeout=300)
    load_backbone(settings.model, torch.float32)
    pickled.write_bytes(b"no pickle")  # beside safetensors it is not looked at
    load_backbone.cache_clear()
    load_backbone(settings.model, torch.float32)


def test_tied_heads_are_not_missing(settings: Settings, tmp_path: Path, tokenizer) -> None:
    settings = changed_model(settings, tmp_path / "model", tokenizer)
    assert "lm_head.weight" not in load_file(tmp_path / "model" / "model.safetensors")
    load_backbone(settings.model, torch.float32)


def test_a_model_without_a_cache_trains_and_says_that_it_is_slower(
    settings: Settings, tmp_path: Path, tokenizer
) -> None:
    said = []
    for model in (MambaForCausalLM(MambaConfig(**SHAPE, state_size=4)).eval(), make_model("bloom")):
        console = Console(file=io.StringIO())
        folder = tmp_path / type(model).__name__
        (run,) = train_pack([changed_model(settings, folder, tokenizer, model)], console)
        assert run.result()["steps"] > 0
        said.append(console.file.getvalue().count("every text is computed with the prompt's rows in front"))
    assert said == [1, 0]


def test_a_model_that_looks_ahead_is_refused(settings: Settings, tmp_path: Path, tokenizer) -> None:
    config = BertConfig(**SHAPE, num_attention_heads=2, intermediate_size=64, initializer_range=0.3)
    model = BertLMHeadModel(config).eval()
    message = refused(changed_model(settings, tmp_path / "model", tokenizer, model))
    assert "cannot be used, because it looks ahead" in message


def test_a_model_that_is_not_causal_is_refused(
    settings: Settings, tmp_path: Path, tokenizer, monkeypatch
) -> None:
    """What it computes in front of a token depends on that token."""
    from transformers.models.opt.modeling_opt import OPTAttention

    torch.manual_seed(0)
    opt = OPTForCausalLM(
        OPTConfig(**SHAPE, num_attention_heads=2, ffn_dim=64, word_embed_proj_dim=32, init_std=0.3)
    ).eval()
    original = OPTAttention.forward

    def see_everything(self, hidden_states, attention_mask=None, **options):
        self.is_causal = False
        return original(self, hidden_states, attention_mask=None, **options)

    settings = changed_model(settings, tmp_path / "model", tokenizer, opt)
    load_backbone(settings.model, torch.float32)  # as it is, it can be used
    load_backbone.cache_clear()
    monkeypatch.setattr(OPTAttention, "forward", see_everything)
    with pytest.raises(UserError, match=r"OPTForCausalLM\): cannot be used, because it looks ahead"):
        load_backbone(settings.model, torch.float32)


def test_a_tokenizer_larger_than_the_table_is_refused_where_it_matters(
    settings: Settings, tmp_path: Path, tokenizer
) -> None:
    torch.manual_seed(0)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    small = BloomForCausalLM(BloomConfig(vocab_size=20, hidden_size=32, n_layer=2, n_head=4, **ends))
    message = refused(changed_model(settings, tmp_path / "model", tokenizer, small))
    assert "train.jsonl:1: the tokenizer's token" in message and "embedding table of 20 rows" in message


def test_a_changed_tokenizer_makes_another_run(settings: Settings, tmp_path: Path, tokenizer) -> None:
    settings = changed_model(settings, tmp_path / "model", tokenizer)
    before = model_fingerprint(settings.model)
    for name in ("vocab.txt", "merges.txt", "tokenizer.model"):
        (tmp_path / "model" / name).write_text("x")
        after = model_fingerprint(settings.model)
        assert set(after) - set(before) == {f"model/{name}"}
        before = after


def test_a_branch_on_the_hub_is_known_by_its_commit(settings: Settings, tmp_path: Path, monkeypatch) -> None:
    """The local cache has the layout of the hub: a branch is a file with a commit."""
    from softprompt.backbone import source

    repository = tmp_path / "models--org--tiny"
    found = []
    for commit in ("a" * 40, "b" * 40):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
        make_model("bloom").config.save_pretrained(repository / "snapshots" / commit)
        model = replace(settings.model, id="org/tiny", revision="main")
        source._commit_of_branch.cache_clear()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        found.append(model_fingerprint(model))
    assert found == [{"model/commit": "a" * 40}, {"model/commit": "b" * 40}]
    assert model_fingerprint(replace(settings.model, id="org/tiny", revision="c" * 40)) == {}
