"""Models, data, prompts and places that cannot be used: one line, and no number that is silently wrong."""

import errno
import io
import json
import os
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
from softprompt.data.sources import read_records
from softprompt.errors import UserError
from softprompt.parsing import parse_settings
from softprompt.prompt import SoftPrompt
from softprompt.runs import Run
from softprompt.settings import JsonlData, LoggerSettings, PromptSettings, Settings
from softprompt.training.train import train_pack
from tests.conftest import ROOT, cb_records, make_model, write_jsonl

QUIET = Console(quiet=True)
WEIGHT = "transformer.h.0.mlp.dense_4h_to_h.weight"
SHAPE = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2}


def changed_model(
    settings: Settings, folder: Path, tokenizer, model: torch.nn.Module | None = None
) -> Settings:
    """The settings with another model, saved in a folder with the tests' tokenizer."""
    (model or make_model("bloom")).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return replace(settings, model=replace(settings.model, id=str(folder)))


def refused(settings: Settings) -> str:
    with pytest.raises(UserError) as caught:
        train_pack([settings], QUIET)
    assert "\n" not in str(caught.value)
    assert not list(Path(settings.output_root).rglob("result.json"))
    return str(caught.value)


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


def prompt_file(path: Path, matrix: torch.Tensor, **about: object) -> Path:
    metadata = {"backbone": "m", "revision": None, "task": "cb", "init": "text", **about}
    save_file({"prompt": matrix}, path, metadata={"softprompt": json.dumps(metadata)})
    return path


@pytest.mark.parametrize(
    ("matrix", "about", "message"),
    [
        (torch.zeros(32), {}, "should be a matrix of n rows, but its shape is 32"),
        (torch.zeros(1, 2, 32), {}, "should be a matrix of n rows, but its shape is 1×2×32"),
        (torch.zeros(0, 32), {}, "its shape is 0×32"),
        (torch.full((2, 32), float("nan")), {}, "the prompt has values that are not finite"),
        (torch.zeros(2, 32), {"rank": 3}, "not a prompt saved by softprompt"),
    ],
)
def test_a_prompt_file_of_another_shape_is_refused(
    settings: Settings, tmp_path: Path, matrix: torch.Tensor, about: dict[str, object], message: str
) -> None:
    path = prompt_file(tmp_path / "p.safetensors", matrix, **about)
    assert message in refused(replace(settings, prompt=PromptSettings(init="file", path=str(path))))
    with pytest.raises(UserError) as caught:
        SoftPrompt.load(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "cannot be read (maximum recursion depth"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "cannot be read (maximum recursion depth"),
        ('{"a":' + "1" * 5000 + "}", "cannot be read (Exceeds the limit (4300 digits)"),
        (
            json.dumps({**cb_records(1)[0], "meta": {"label": "neutral"}}),
            "two fields are named 'label', one of them in a nested object; rename one",
        ),
        (
            json.dumps({"meta": {"label": "neutral"}, **cb_records(1)[0]}),
            "two fields are named 'label', one of them in a nested object; rename one",
        ),
        ('{"label": 1, "label": 2}', "cannot be read (two fields are named 'label'; rename one)"),
    ],
    ids=[
        "nested lists",
        "nested objects",
        "a long number",
        "a clash",
        "a clash, nested first",
        "a field twice",
    ],
)
def test_a_record_that_cannot_be_read_is_named(
    settings: Settings, tmp_path: Path, line: str, message: str
) -> None:
    write_jsonl(tmp_path / "data" / "CB" / "train.jsonl", cb_records(5))
    (tmp_path / "data" / "CB" / "val.jsonl").write_text(f"\n{line}\n")
    found = refused(replace(settings, data=replace(settings.data, root=str(tmp_path / "data"))))
    assert found.startswith(f"{tmp_path}/data/CB/val.jsonl:2: {message}")


def test_train_and_validation_must_differ(settings: Settings, tmp_path: Path) -> None:
    for name in ("train", "val"):
        write_jsonl(tmp_path / "data" / "CB" / f"{name}.jsonl", cb_records(5))
    assert isinstance(settings.data, JsonlData)
    with pytest.raises(UserError, match=r"^CB/val\.jsonl: has the same records as CB/train\.jsonl"):
        read_records(replace(settings.data, root=str(tmp_path / "data")), settings.task)


@pytest.mark.parametrize(
    ("group", "key", "value", "message"),
    [
        ("task", "template", "x {premise:>1000000000}", "without ':' or '!'"),
        ("task", "template", "x {premise:{hypothesis}}", "without ':' or '!'"),
        ("task", "template", "x {premise!r}", "without ':' or '!'"),
        ("task", "verbalizers", {"a": ["x"]}, "task.verbalizers: should have at least two answers"),
        ("task", "name", 7, "put it in quotes, 'task.name=\"7\"'"),
        ("trainer", "min_delta", -1.0, "trainer.min_delta=-1.0: should be greater than or equal to 0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_key(
    config: dict[str, dict[str, object]], group: str, key: str, value: object, message: str
) -> None:
    config[group][key] = value
    with pytest.raises(UserError) as caught:
        parse_settings(config)
    assert str(caught.value).startswith(f"{group}.{key}") and message in str(caught.value)


def test_an_unquoted_number_as_a_name_is_explained(config: dict[str, object]) -> None:
    config["sweep"] = 2024
    with pytest.raises(
        UserError, match=r"""^sweep=2024: should be a valid string: put it in quotes, 'sweep="2024"'$"""
    ):
        parse_settings(config)


@pytest.mark.parametrize(
    "name", ["config.yaml", "prompt.safetensors", "metrics.csv", "last.ckpt", "result.json"]
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_write_that_fails_is_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Disk full, read-only, no permission, broken: at every file of a run."""
    original = os.fsync

    def fail(descriptor: int) -> None:
        if f".{name}." in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        original(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        assert refused(settings).endswith(f"/{name}: cannot be written ({os.strerror(number)})")
    (run,) = train_pack([settings], QUIET)  # nothing is in the way of another try
    assert run.done and not list(run.path.glob(".*"))


@pytest.mark.parametrize("place", ["file", "a" * 300, "/proc/nowhere", "/dev/null/x"])
def test_an_output_root_that_cannot_be_is_one_line(settings: Settings, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((UserError, OSError)) as caught:
        train_pack([replace(settings, output_root=str(tmp_path / place))], QUIET)
    assert "\n" not in str(caught.value)


def call(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "train.py", "trainer=cpu", "trainer.max_steps=1", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_a_group_that_is_null_is_named(tmp_path: Path) -> None:
    result = call(f"output_root={tmp_path}", "task=null")
    assert result.returncode == 1
    assert (
        result.stderr
        == "error: task=null: should be one of boolq, cb, copa, multirc, record, rte, wic, wsc\n"
    )


def test_an_unknown_mode_of_wandb_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "foo")
    logger = LoggerSettings(name="wandb", project="softprompt")
    assert refused(replace(settings, logger=logger)).startswith(
        "WANDB_MODE='foo': should be one of online, offline"
    )


def test_a_terminal_without_unicode_is_no_obstacle(tmp_path: Path) -> None:
    result = call(
        f"output_root={tmp_path}", "task.instruction='Does…entail?'", PYTHONIOENCODING="ascii", LC_ALL="C"
    )
    assert result.returncode == 0, result.stderr


def test_without_network_a_run_is_trained_and_recorded_offline(tmp_path: Path) -> None:
    variables = {"WANDB_MODE": "", "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    result = call(f"output_root={tmp_path}", "logger=wandb", **variables)
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "W&B cannot be reached" in line]
    place = line.partition("upload with `wandb sync ")[2].rstrip("`").removesuffix("/offline-run-*")
    assert list(Path(place).glob("offline-run-*/*.wandb"))


def test_a_checkpoint_is_never_of_a_prompt_that_is_not_finite(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step may break the prompt before a loss shows it, and a checkpoint may fall in between."""
    from softprompt.training.tuning import PromptTuning
    from tests.conftest import checkpoint_state

    settings = replace(settings, trainer=replace(settings.trainer, checkpoint_seconds=0.0))
    original = PromptTuning._clip_gradients

    def poison(self):
        if self.runs[0].order.total_steps == 2:
            self.prompts[0].grad.fill_(float("nan"))
        original(self)

    monkeypatch.setattr(PromptTuning, "_clip_gradients", poison)
    assert "the training loss is nan at step 4" in refused(settings)
    (path,) = Path(settings.output_root).rglob("last.ckpt")
    state = checkpoint_state(path)
    assert torch.isfinite(state["prompt"]).all() and state["order"]["epoch"] * 2 + state["order"]["step"] == 2
    monkeypatch.setattr(PromptTuning, "_clip_gradients", original)
    (run,) = train_pack([settings], QUIET)
    assert isinstance(run, Run) and run.done


def test_a_copy_of_a_run_and_a_renamed_run(settings: Settings) -> None:
    import shutil

    from softprompt.runs import find_runs

    (run,) = train_pack([settings], QUIET)
    copy = run.path.with_name("run.bak")
    shutil.copytree(run.path, copy)
    with pytest.raises(UserError, match=rf"{copy} is a copy of {run.path}; remove one of them"):
        find_runs(run.path.parent)
    shutil.rmtree(run.path)
    (renamed,) = find_runs(run.path.parent)
    assert renamed.path == copy and renamed.id == run.id


def test_data_that_was_moved_is_found_by_the_analysis(settings: Settings, tmp_path: Path) -> None:
    import shutil

    from softprompt.study import Study
    from tests.integration.small_sweep import ANALYSIS

    assert isinstance(settings.data, JsonlData)
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(settings.data.root, old)
    (run,) = train_pack([replace(settings, data=replace(settings.data, root=str(old)))], QUIET)
    old.rename(new)
    options = replace(ANALYSIS, sweep=str(run.path.parent))
    with pytest.raises(UserError, match="there is no folder"):
        _ = Study(run.path.parent, QUIET, options).targets
    moved = replace(options, data_root=str(new))
    assert len(Study(run.path.parent, QUIET, moved).targets["cb"].examples) == 8
    write_jsonl(new / "CB" / "val.jsonl", cb_records(7))
    with pytest.raises(UserError, match=r"CB/val\.jsonl has changed since this run was trained"):
        _ = Study(run.path.parent, QUIET, moved).targets
