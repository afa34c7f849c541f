"""lm-evaluation-harness scores an exported prompt as softprompt does."""

from pathlib import Path

import pytest
from rich.console import Console

from softprompt.backbone import local_folder
from softprompt.errors import UserError
from softprompt.lm_eval import write_task
from softprompt.peft import export
from softprompt.training.train import train_pack
from tests.conftest import composed

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'softprompt[lm-eval]'")


@pytest.mark.parametrize("task", ["cb", "wsc"])
def test_the_harness_computes_the_same_rank_accuracy(task: str, tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    settings = composed(
        f"task={task}", "prompt=random", "trainer=cpu", "trainer.max_steps=8", f"output_root={tmp_path}"
    )
    (run,) = train_pack([settings], Console(quiet=True))
    export(run.path, tmp_path / "adapter")
    name = write_task(run.path, tmp_path / "tasks")
    model = f"pretrained={local_folder(settings.model)},peft={tmp_path / 'adapter'},dtype=float32"
    found = lm_eval.simple_evaluate(
        model="hf", model_args=model, tasks=[name], device="cpu", batch_size=16, bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False),
    )["results"][name]["acc,none"]  # fmt: skip
    assert found == pytest.approx(run.result()["tuned"]["rank_accuracy"], abs=1e-6)
    with pytest.raises(UserError, match="exists already; choose another folder"):
        write_task(run.path, tmp_path / "tasks")
