"""The steps that CONTRIBUTING.md gives for a new task, model, optimiser, initialiser and reading, walked as written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, thorough

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FILES = dict(
    re.findall(r"`((?:conf|softprompt)/[a-z_/]+\.(?:yaml|py))`:\n\n```[a-z]+\n(.*?)```", PAGE, re.DOTALL)
)
(INITIALISER,) = re.findall(r"```python\n(@initialiser\n.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A copy of the project with the page's files in it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("softprompt", "conf"):
        shutil.copytree(
            ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("train.py", "analyze.py"):
        shutil.copy(ROOT / name, folder)
    for path, content in FILES.items():
        assert not (folder / path).exists(), path
        (folder / path).write_text(content.replace("/path/to/a/model", str(model_folder)))
    with (folder / "softprompt/initialisers.py").open("a") as file:
        file.write(f"\n\n{INITIALISER}")
    return folder


def test_the_page_has_all_the_files() -> None:
    assert sorted(FILES) == [
        "conf/model/tiny.yaml",
        "conf/optim/nadam.yaml",
        "conf/task/agreement.yaml",
        "softprompt/analysis/largest.py",
        "softprompt/report/sections/largest.py",
    ]


@thorough
def test_a_new_task_model_optimiser_initialiser_and_reading(
    checkout: Path, data_folder: Path, tmp_path: Path
) -> None:
    def call(script: str, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, script, *arguments],
            cwd=checkout,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr

    call(
        "train.py", "task=agreement", "model=tiny", "optim=nadam", "prompt.init=zeros", "data=superglue_jsonl",
        f"data.root={data_folder}", "trainer=cpu", "trainer.max_steps=2", f"output_root={tmp_path}", "sweep=new",
    )  # fmt: skip
    (run,) = tmp_path.glob("new/agreement/zeros-seed0-*")
    assert (run / "result.json").exists()
    call("analyze.py", f"sweep={tmp_path / 'new'}", "parts=[largest]")
    assert (tmp_path / "new/analysis/tables/largest.csv").exists()
    assert "Largest entries" in (tmp_path / "new/analysis/report.html").read_text()
