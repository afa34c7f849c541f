"""lm-evaluation-harness scores an exported prompt as softprompt does."""

import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

import softprompt
from softprompt.backbone import local_folder
from softprompt.data.sources import read_records
from softprompt.errors import UserError
from softprompt.lm_eval import write_task
from softprompt.peft import export
from softprompt.training.train import train_pack
from tests.conftest import composed

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'softprompt[lm-eval]'")


def microworld_with_bos(folder: Path) -> str:
    """The microworld's model, with a tokenizer that puts <s> in front of every text."""
    shutil.copytree(local_folder(composed().model), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    begin = [(tokenizer.bos_token, tokenizer.bos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{tokenizer.bos_token} $A", special_tokens=begin
    )
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(("task", "bos"), [("cb", False), ("wsc", False), ("cb", True)])
def test_the_harness_computes_the_same_rank_accuracy(task: str, bos: bool, tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    chosen = ["model=any", f"model.id={microworld_with_bos(tmp_path / 'model')}", "model.dtype=float32"]
    settings = composed(
        f"task={task}", "prompt=random", "trainer=cpu", "trainer.max_steps=8", f"output_root={tmp_path}",
        *(chosen if bos else []),
    )  # fmt: skip
    (run,) = train_pack([settings], Console(quiet=True))
    assert (run.best_prompt().bos is not None) == bos
    export(run.path, tmp_path / "adapter")
    name = write_task(run.path, tmp_path / "tasks")
    model = f"pretrained={local_folder(settings.model)},peft={tmp_path / 'adapter'},dtype=float32,add_bos_token=False"
    found = lm_eval.simple_evaluate(
        model="hf", model_args=model, tasks=[name], device="cpu", batch_size=16, bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False),
    )  # fmt: skip
    accuracy = found["results"][name]["acc,none"]
    assert accuracy == pytest.approx(run.result()["tuned"]["rank_accuracy"], abs=1e-6)
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    theirs = torch.tensor([[float(choice[0]) for choice in sample["filtered_resps"]] for sample in samples])
    records = read_records(settings.data, settings.task).splits["validation"]
    ours = softprompt.load(run.path, device="cpu").probabilities([record.fields for record in records])
    shares = torch.tensor([list(of_record.values()) for of_record in ours])
    torch.testing.assert_close(shares, theirs.softmax(1), rtol=1e-3, atol=1e-4)
    with pytest.raises(UserError, match="exists already; choose another folder"):
        write_task(run.path, tmp_path / "tasks")
