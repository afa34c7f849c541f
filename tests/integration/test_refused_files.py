"""Prompt files and records that cannot be used."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from softprompt.data.sources import read_records
from softprompt.errors import UserError
from softprompt.prompt import SoftPrompt
from softprompt.settings import JsonlData, PromptSettings, Settings
from tests.conftest import cb_records, write_jsonl
from tests.integration.refusal import refused


def prompt_file(path: Path, matrix: torch.Tensor, **about: object) -> Path:
    metadata = {"backbone": "m", "revision": None, "task": "cb", "init": "text", **about}
    save_file({"prompt": matrix}, path, metadata={"softprompt": json.dumps(metadata)})
    return path


@pytest.mark.parametrize(
    ("matrix", "about", "message"),
    [
        (torch.zeros(32), {}, "should be a matrix of n rows, but its shape is 32"),
        (torch.zeros(1, 2, 32), {}, "should be a matrix of n rows, but its shape is 1×2×32"),
        (torch.zeros(0, 32), {}, "its shape is 0×32"),
        (torch.full((2, 32), float("nan")), {}, "the prompt has values that are not finite"),
        (torch.zeros(2, 32), {"rank": 3}, "not a prompt saved by softprompt"),
    ],
)
def test_a_prompt_file_of_another_shape_is_refused(
    settings: Settings, tmp_path: Path, matrix: torch.Tensor, about: dict[str, object], message: str
) -> None:
    path = prompt_file(tmp_path / "p.safetensors", matrix, **about)
    assert message in refused(replace(settings, prompt=PromptSettings(init="file", path=str(path))))
    with pytest.raises(UserError) as caught:
        SoftPrompt.load(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "cannot be read (maximum recursion depth"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "cannot be read (maximum recursion depth"),
        ('{"a":' + "1" * 5000 + "}", "cannot be read (Exceeds the limit (4300 digits)"),
        (
            json.dumps({**cb_records(1)[0], "meta": {"label": "neutral"}}),
            "two fields are named 'label', one of them in a nested object; rename one",
        ),
        (
            json.dumps({"meta": {"label": "neutral"}, **cb_records(1)[0]}),
            "two fields are named 'label', one of them in a nested object; rename one",
        ),
        ('{"label": 1, "label": 2}', "cannot be read (two fields are named 'label'; rename one)"),
    ],
    ids=[
        "nested lists",
        "nested objects",
        "a long number",
        "a clash",
        "a clash, nested first",
        "a field twice",
    ],
)
def test_a_record_that_cannot_be_read_is_named(
    settings: Settings, tmp_path: Path, line: str, message: str
) -> None:
    write_jsonl(tmp_path / "data" / "CB" / "train.jsonl", cb_records(5))
    (tmp_path / "data" / "CB" / "val.jsonl").write_text(f"\n{line}\n")
    found = refused(replace(settings, data=replace(settings.data, root=str(tmp_path / "data"))))
    assert found.startswith(f"{tmp_path}/data/CB/val.jsonl:2: {message}")


def test_train_and_validation_must_differ(settings: Settings, tmp_path: Path) -> None:
    for name in ("train", "val"):
        write_jsonl(tmp_path / "data" / "CB" / f"{name}.jsonl", cb_records(5))
    assert isinstance(settings.data, JsonlData)
    with pytest.raises(UserError, match=r"^CB/val\.jsonl: has the same records as CB/train\.jsonl"):
        read_records(replace(settings.data, root=str(tmp_path / "data")), settings.task)
