"""The benchmarks run, and check that softprompt and PEFT compute the same."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, thorough

pytest.importorskip("peft", reason="peft is not installed")


@thorough
def test_a_step_has_the_same_loss_and_gradient_as_peft() -> None:
    command = [
        sys.executable, "benchmarks/step.py", "--shape", "smollm2_135m", "--layers", "1", "--dtype", "float32",
        "--task", "copa", "--batch-size", "3", "--repeats", "1",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["agreement"]["loss"] < 1e-5 and result["agreement"]["gradient"] < 1e-5
    assert result["ratio_vs_peft"]["min"] > 0 and 0 < result["matmul_limit_fraction"] < 2
    assert len(result["batches"][0]["lengths"]) == 3 and done.stderr == ""


def test_lengths_json_covers_all_records() -> None:
    lengths = json.loads((ROOT / "benchmarks" / "lengths.json").read_text())
    counts = {task: (len(splits["train"]), len(splits["validation"])) for task, splits in lengths.items()}
    assert counts == {"cb": (250, 56), "rte": (2490, 277), "copa": (400, 100), "wsc": (554, 104)}
