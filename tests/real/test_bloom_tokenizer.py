"""Token counts of the instructions, as in the reference study. Needs BLOOM's tokenizer in the Hugging Face cache."""

import hashlib
from pathlib import Path

import pytest
import yaml
from huggingface_hub import try_to_load_from_cache
from transformers import AutoTokenizer

from tests.conftest import ROOT

MODEL = yaml.safe_load((ROOT / "conf" / "model" / "bloomz_560m.yaml").read_text())
SHA256 = "3fa39cd4b1500feb205bcce3b9703a4373414cafe4970e0657b413f7ddd2a9d3"
CACHED = try_to_load_from_cache(MODEL["id"], "tokenizer.json", revision=MODEL["revision"])


@pytest.mark.skipif(not isinstance(CACHED, str), reason="bloomz-560m's tokenizer is not in the cache")
@pytest.mark.parametrize(("task", "rows"), [("cb", 15), ("rte", 14), ("copa", 12), ("wsc", 20)])
def test_instructions_have_the_papers_number_of_tokens(task: str, rows: int) -> None:
    assert hashlib.sha256(Path(str(CACHED)).read_bytes()).hexdigest() == SHA256
    tokenizer = AutoTokenizer.from_pretrained(MODEL["id"], revision=MODEL["revision"], local_files_only=True)
    instruction = yaml.safe_load((ROOT / "conf" / "task" / f"{task}.yaml").read_text())["instruction"]
    assert len(tokenizer(instruction, add_special_tokens=False)["input_ids"]) == rows
