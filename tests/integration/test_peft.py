"""Prompts go to PEFT and come from it without a difference."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel, PromptEncoderConfig, PromptTuningConfig, TaskType, get_peft_model
from rich.console import Console
from transformers import AutoModelForCausalLM

from softprompt.adapter import CONFIG, PICKLED, WEIGHTS, read_adapter
from softprompt.backbone import load_backbone
from softprompt.data.batch import Batch
from softprompt.errors import UserError
from softprompt.peft import export
from softprompt.runs import Run
from softprompt.settings import PromptSettings, Settings
from softprompt.training.train import train_pack
from tests.conftest import ROOT, make_model

QUIET = Console(quiet=True)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """As PEFT writes it."""
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=5)
    torch.manual_seed(1)
    get_peft_model(make_model("bloom"), config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def logits_of_peft(folder: Path, model_folder: Path, ids: list[int]) -> torch.Tensor:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model_folder), folder).eval()
    tokens = torch.tensor([ids])
    with torch.no_grad():
        return model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0]


def test_a_run_is_loaded_by_peft_with_the_same_logits(
    settings: Settings, tmp_path: Path, model_folder: Path
) -> None:
    (run,) = train_pack([settings], QUIET)
    export(run.path, tmp_path / "adapter")
    prompt = run.best_prompt().matrix
    assert torch.equal(read_adapter(tmp_path / "adapter").matrix, prompt)
    text, answer = [5, 9, 7, 20], [8, 2]
    theirs = logits_of_peft(tmp_path / "adapter", model_folder, [*text, *answer])[-3:-1]
    backbone = load_backbone(settings.model, torch.float32)
    with torch.no_grad():
        ours = backbone.answer_logits([prompt], Batch.of_pairs([(text, answer)]))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    card = (tmp_path / "adapter/README.md").read_text()
    assert f"{run.result()['tuned']['exact_match']:.1%}" in card and "learning rate 0.05" in card


def test_an_adapter_becomes_a_run_and_the_same_adapter_again(
    settings: Settings, adapter: Path, tmp_path: Path
) -> None:
    prompt = PromptSettings(init="file", path=str(adapter))
    (run,) = train_pack(
        [replace(settings, prompt=prompt, trainer=replace(settings.trainer, max_steps=0))], QUIET
    )
    assert run.result()["steps"] == 0 and run.result()["stopped"] == "max_steps"
    assert torch.equal(run.best_prompt().matrix, read_adapter(adapter).matrix)
    export(run.path, tmp_path / "again")
    assert torch.equal(read_adapter(tmp_path / "again").matrix, read_adapter(adapter).matrix)
    trained = replace(settings, prompt=PromptSettings(init="file", path=str(run.path)))
    (further,) = train_pack([trained], QUIET)  # from a run's folder
    assert (
        torch.equal(further.initial_prompt().matrix, read_adapter(adapter).matrix)
        and further.result()["steps"] > 0
    )


def test_the_command_exports_and_imports(
    settings: Settings, tmp_path: Path, model_folder: Path, data_folder: Path
) -> None:
    (run,) = train_pack([settings], QUIET)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "softprompt.peft", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    folder = tmp_path / "it's an adapter"
    assert call("export", str(run.path), str(folder)).returncode == 0
    with pytest.raises(UserError, match="is not empty; choose another folder"):
        export(run.path, folder)
    done = call(
        "import", str(folder), "task=cb", "data=superglue_jsonl", f"data.root={data_folder}", "model=any",
        f"model.id={model_folder}", "model.dtype=float32", "trainer=cpu", "sweep=imported", f"output_root={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (imported,) = (Run.at(path) for path in (tmp_path / "imported/cb").iterdir() if path.is_dir())
    assert torch.equal(imported.best_prompt().matrix, run.best_prompt().matrix)
    # The other process may have another number of threads, and so another last digit of the loss.
    assert imported.result()["tuned"] == pytest.approx(run.result()["tuned"], rel=1e-5)


def test_what_is_no_prompt_and_no_prefix_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = PromptEncoderConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=5)
    get_peft_model(make_model("llama"), other).save_pretrained(tmp_path / "other")
    with pytest.raises(
        UserError, match=r"adapter_config\.json: is a P_TUNING adapter for CAUSAL_LM; should be"
    ):
        read_adapter(tmp_path / "other")
    (adapter / WEIGHTS).rename(adapter / PICKLED)
    with pytest.raises(UserError, match=r"adapter_model\.bin: a pickle, which can run code and is not read"):
        read_adapter(adapter)
    (adapter / PICKLED).unlink()
    with pytest.raises(UserError, match=r"adapter_model\.safetensors: holds no prompt_embeddings"):
        read_adapter(adapter)
    (adapter / CONFIG).write_text(json.dumps(["a list"]))
    with pytest.raises(UserError, match=r"adapter_config\.json"):
        read_adapter(adapter)
