"""What the README shows, works."""

import json
import re
from pathlib import Path

import yaml
from rich.console import Console

from softprompt.parsing import parse_settings
from softprompt.training.train import train_pack
from tests.conftest import ROOT, WORDS, make_model, make_tokenizer, write_jsonl

README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    """The first fenced block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, language
    return found.group(1)


def test_the_task_of_ones_own_trains(config, tmp_path: Path) -> None:
    record = json.loads(block("json"))
    config["task"] = yaml.safe_load(block("yaml"))
    config["data"]["root"] = str(tmp_path)
    for name in ("train", "val"):
        sentence = f"{record['sentence']} {name}"
        write_jsonl(
            tmp_path / "MOOD" / f"{name}.jsonl",
            [{**record, "sentence": sentence, "label": i} for i in (0, 1)],
        )
    words = [
        *WORDS,
        *[
            "Is",
            "the",
            "mood",
            "of",
            "sentence",
            "good",
            "or",
            "bad?",
            "bad",
            "Sentence:",
            "Mood:",
            "What",
            "a",
            "lovely",
            "morning.",
        ],
    ]
    make_model("bloom").save_pretrained(tmp_path / "model")
    make_tokenizer(words).save_pretrained(tmp_path / "model")
    config["model"]["id"] = str(tmp_path / "model")
    (run,) = train_pack([parse_settings(config)], Console(quiet=True))
    assert run.result()["tuned"]["n"] == 2


def test_every_override_shown_composes() -> None:
    from tests.integration.test_experiments import composed

    single = re.findall(r"`([a-z0-9_.]+=[a-z0-9_.,]+)`", README)
    assert len(single) >= 9
    needed = {
        "prompt=file": ["prompt.path=x"],
        "prompt=run": ["prompt.run=x"],
        "prompt=mean": ["prompt.runs=[x]", "prompt.like=x"],
    }
    for override in single:
        key, _, values = override.partition("=")
        for value in values.split(","):
            composed(f"{key}={value}", *needed.get(f"{key}={value}", []))
