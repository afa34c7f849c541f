"""The wheel, installed into a fresh environment, works in another folder."""

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, thorough


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel. The dependencies are those of the present environment."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("softprompt", "hydra_plugins", "conf"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", str(source), "--no-deps", "-w", str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # Python does not process .pth files in a folder that is added so: the editable installation stays invisible.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    (wheel,) = folder.glob("softprompt-*.whl")
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "-q", "install", "--no-deps", "--no-index", str(wheel)], check=True)
    return folder / "venv" / "bin"


@thorough
def test_the_commands_train_and_analyse_the_microworld(environment: Path, tmp_path: Path) -> None:
    def call(*command: str) -> str:
        done = subprocess.run(
            [str(environment / command[0]), *command[1:]],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout

    where = call(
        "python", "-c", "import softprompt.files as f; print(f.__file__, f.CONF.is_symlink())"
    ).split()
    assert where[0].startswith(str(environment.parent)) and where[1] == "False"
    call("softprompt-train", "-m", "task=cb", "seed=1,2", "trainer=cpu", "trainer.max_steps=2", "sweep=wheel")
    assert len(list(tmp_path.glob("outputs/wheel/cb/*/result.json"))) == 2
    call("softprompt-analyze", "sweep=outputs/wheel", "parts=[scores,readings]")
    assert (tmp_path / "outputs/wheel/analysis/report.html").exists()
    assert (tmp_path / "outputs/wheel/analysis/tables/readings.csv").exists()
