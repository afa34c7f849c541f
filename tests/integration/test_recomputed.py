"""The transfer grid, computed again with nothing but Hugging Face's `generate`, safetensors and the task files."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from softprompt.microworld.scenes import draw_splits
from softprompt.report.write import write_report
from softprompt.training.train import train_pack
from tests.conftest import ROOT, composed
from tests.integration.small_sweep import ANALYSIS

MODEL = ROOT / "softprompt" / "microworld" / "model"
TASKS = ("cb", "rte")
VALIDATION = 40


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prompt for each of two tasks, trained for a few steps, so that neither is right everywhere."""
    root = tmp_path_factory.mktemp("recomputed")
    for task in TASKS:
        settings = composed(
            f"task={task}", "prompt=random", "trainer=cpu", "trainer.max_steps=12", "optim.lr=0.1",
            f"data.validation={VALIDATION}", "sweep=small", f"output_root={root}",
        )  # fmt: skip
        train_pack([settings], Console(quiet=True))
    write_report(replace(ANALYSIS, sweep=str(root / "small"), parts=["transfer"]), Console(quiet=True))
    return root / "small"


def exact_match(prompt: torch.Tensor, task_name: str) -> float:
    """The share of validation records after which greedy decoding writes the right answer and ends."""
    model = AutoModelForCausalLM.from_pretrained(MODEL).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    task = yaml.safe_load((ROOT / f"conf/task/{task_name}.yaml").read_text())
    scenes = draw_splits(task["folder"], 0, 256, VALIDATION)["validation"]
    right = 0
    for scene in scenes:
        label = scene.fields["label"]
        (answer,) = [text for text, meant in task["verbalizers"].items() if label in meant]
        ids = tokenizer(task["template"].format(**scene.fields), return_tensors="pt")["input_ids"]
        embeddings = torch.cat([prompt, model.get_input_embeddings()(ids)[0]])[None]  # [1, n + L, d]
        written = model.generate(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long),
            max_new_tokens=6,
            do_sample=False,
        )[0].tolist()
        right += written[: written.index(2) + 1 if 2 in written else None] == [
            *tokenizer(f" {answer}")["input_ids"],
            tokenizer.eos_token_id,
        ]
    return right / len(scenes)


@torch.no_grad()
def test_generate_writes_what_the_transfer_grid_says(sweep: Path) -> None:
    transfer = pd.read_csv(sweep / "analysis" / "tables" / "transfer.csv")
    transfer = transfer[transfer["score"] == "exact match"]
    prompts = {path.parents[1].name: load_file(path)["prompt"] for path in sweep.rglob("prompt.safetensors")}
    assert set(prompts) == set(TASKS)
    for target in TASKS:
        baseline = exact_match(torch.zeros(0, next(iter(prompts.values())).shape[1]), target)
        for source, prompt in prompts.items():
            (row,) = transfer[(transfer["source"] == source) & (transfer["target"] == target)].itertuples()
            assert row.baseline == pytest.approx(baseline)
            assert row.gain == pytest.approx(100 * (exact_match(prompt, target) - baseline))
