"""Every method on two processes, which share each batch, trains what it trains on one."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from softprompt.parsing import config_of
from softprompt.runs import Run
from softprompt.settings import MethodSettings, PromptSettings, Settings
from softprompt.training.train import train_pack
from tests.conftest import ROOT, THOROUGH
from tests.integration.test_method_runs import METHODS
from tests.integration.test_packs import curve

# Trains one run after another, and writes down each step's values as this process has them.
SCRIPT = """
import os
import sys
from pathlib import Path
import yaml
from rich.console import Console
from softprompt.files import sha256
from softprompt.parsing import parse_settings
from softprompt.training.train import train_pack
from softprompt.training.trigger_search import TriggerSearch
from softprompt.training.tuning import PromptTuning

counted = PromptTuning.on_train_batch_end

def count(self, *arguments):
    counted(self, *arguments)
    (values,) = self.prompts
    with Path(sys.argv[2]).open("a") as file:
        print(self.members[0].run.settings.method.name, sha256(values.detach().numpy().tobytes()), file=file)

PromptTuning.on_train_batch_end = count
if os.environ["RANK"] == "1":  # like a device that sorts equal slopes in another way
    found = TriggerSearch._candidates
    TriggerSearch._candidates = lambda self, *arguments: found(self, *arguments).flip(0)
for config in yaml.safe_load(Path(sys.argv[1]).read_text()):
    train_pack([parse_settings(config)], Console(quiet=True))
"""


def own(settings: Settings, method: MethodSettings) -> Settings:
    """A run of a method. The last batch of an epoch has one example, so that one process has none."""
    return replace(
        settings,
        method=method,
        prompt=PromptSettings(init="vocab", length=6),
        optim=replace(settings.optim, lr=None),
        trainer=replace(settings.trainer, batch_size=11, max_epochs=8, patience=8, min_delta=0.0, threads=1),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def on_two(settings: Settings, tmp_path: Path) -> tuple[list[str], list[str]]:
    """Trains a run of each method in two processes. What each of them wrote down."""
    configs = []
    for method in METHODS.values():
        config = config_of(replace(own(settings, method), sweep="two"))
        config["trainer"] |= {"devices": 2, "strategy": "ddp"}
        configs.append(config)
    (tmp_path / "runs.yaml").write_text(yaml.safe_dump(configs))
    (tmp_path / "train.py").write_text(SCRIPT)
    # As torchrun starts them.
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    common |= {"MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1"}
    logs = [tmp_path / f"process{rank}.txt" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "train.py"), str(tmp_path / "runs.yaml"), str(log)], cwd=ROOT,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE, text=True,
        )
        for rank, log in enumerate(logs)
    ]  # fmt: skip
    try:
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    first, second = (log.read_text().splitlines() for log in logs)
    return first, second


@pytest.mark.skipif(
    not THOROUGH or not torch.distributed.is_gloo_available(),
    reason="takes a minute (set SOFTPROMPT_THOROUGH), and torch with gloo",
)
def test_two_processes_train_what_one_trains(settings: Settings, on_two: tuple[list[str], list[str]]) -> None:
    first, second = on_two
    assert len(first) == 16 * len(METHODS) and first == second  # 8 epochs of 2 steps
    for method in METHODS.values():
        (one,) = train_pack([own(settings, method)], Console(quiet=True))
        two = Run.at(one.path.parents[2] / "two/cb" / one.id)
        assert (two.path / "initial.safetensors").read_bytes() == (
            one.path / "initial.safetensors"
        ).read_bytes()
        if method.name in ("pez", "autoprompt"):
            assert two.result()["text"] == one.result()["text"]
            assert two.result()["best_step"] == one.result()["best_step"] > 0
        torch.testing.assert_close(two.best_prompt().matrix, one.best_prompt().matrix, rtol=1e-4, atol=1e-5)
        for mine, other in zip(curve(two), curve(one), strict=True):
            values, others = ([float(value or "nan") for value in row.values()] for row in (mine, other))
            assert values == pytest.approx(others, rel=1e-4, nan_ok=True)
