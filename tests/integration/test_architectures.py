"""Every architecture that transformers lists for causal language models is computed right, or refused with a reason.

`python -m tests.architectures` does the same by hand. Without SOFTPROMPT_THOROUGH only some of each kind are tried here.
"""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from softprompt.backbone import make_backbone
from softprompt.backbone.verify import check_generic
from softprompt.errors import UserError
from tests.architectures.compare import Outcome
from tests.architectures.page import PAGE, row_of, version_of, with_table
from tests.architectures.tiny import ARCHITECTURES, tiny_config
from tests.conftest import ROOT, THOROUGH, make_tokenizer

SOME = (
    "bart",
    "bert",
    "bloom",
    "deepseek_v32",
    "gemma3",
    "gemma4_text",
    "gpt_oss",
    "jamba",
    "llama",
    "llama4",
    "qwen3_next",
)
TRIED = ARCHITECTURES if THOROUGH else SOME


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """In a process of its own, because it forks one for each architecture."""
    path = tmp_path_factory.mktemp("survey") / "outcomes.json"
    command = [sys.executable, "-m", "tests.architectures", "--json", str(path), *TRIED]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=1200)
    return {name: Outcome(**outcome) for name, outcome in json.loads(path.read_text()).items()}


@pytest.mark.parametrize("model_type", TRIED)
def test_an_architecture_is_computed_right_or_refused(model_type: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[model_type]
    if outcome.kind == "not tried":
        pytest.skip(outcome.detail)
    assert outcome.kind in ("equal", "refused"), outcome
    assert "\n" not in outcome.detail


def test_the_page_has_the_table_of_the_installed_transformers(outcomes: dict[str, Outcome]) -> None:
    page = PAGE.read_text()
    if (version := version_of(page)) != transformers.__version__:
        pytest.skip(f"the table is of transformers {version}; installed is {transformers.__version__}")
    for name, outcome in outcomes.items():
        assert re.search(rf"(?m)^\| {re.escape(row_of(outcome))} \| .*`{name}`", page), name
    if THOROUGH:
        assert page == with_table(page, outcomes), (
            "make it anew: .venv/bin/python -m tests.architectures --write"
        )


def test_a_model_whose_layers_read_token_ids_is_refused_and_without_those_layers_used() -> None:
    config = tiny_config("gemma4_text")
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(
        UserError, match=r"Gemma4ForCausalLM\): cannot be used, because its layers look up token ids"
    ):
        check_generic(make_backbone(model, make_tokenizer(), "tiny", None))
    config.hidden_size_per_layer_input = 0
    model = AutoModelForCausalLM.from_config(config).eval()
    check_generic(make_backbone(model, make_tokenizer(), "tiny", None))


def test_a_model_that_gives_a_prompt_no_gradient_is_refused() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config("opt")).eval()
    model.get_output_embeddings().register_forward_hook(lambda module, inputs, output: output.detach())
    with pytest.raises(UserError, match="cannot be used, because"):
        check_generic(make_backbone(model, make_tokenizer(), "tiny", None))
