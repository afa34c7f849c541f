"""A small sweep, without and with its report, for several files of tests."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from softprompt.report.write import write_report
from softprompt.training.train import train_pack
from tests.conftest import WORDS, composed, make_model, make_tokenizer
from tests.integration.small_sweep import ANALYSIS, CONTROL, HOSTILE


@pytest.fixture(scope="session")
def trained_sweep(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """Three tasks, two initialisers, two seeds; the model's vocabulary has tokens that a page must escape."""
    root = tmp_path_factory.mktemp("sweep")
    model = root / "model"
    make_model("bloom").save_pretrained(model)
    make_tokenizer([*WORDS, HOSTILE, CONTROL, "&amp;", "\\$x_1$", "[bold]"]).save_pretrained(model)
    truth = {
        "instructions": ["x"],
        "words": ["entail,", "or"],
        "functional_words": {word: {"exact_match": 0.0, "rank_accuracy": 0.1 * len(word)} for word in WORDS},
        "functional_no_prompt": {"exact_match": 0.0, "rank_accuracy": 0.3},
        "ceiling": 0.9,
    }
    (model / "truth.json").write_text(json.dumps({"cb": truth}))
    for task in ("cb", "rte", "copa"):
        pack = []
        for init in ("text", "random"):
            for seed in (0, 1):
                settings = composed(
                    f"task={task}", f"prompt={init}", f"seed={seed}", "data=superglue_jsonl",
                    f"data.root={data_folder}", f"model.id={model}", "model.package=null", "trainer=cpu",
                    "trainer.max_epochs=2", "optim.lr=0.05", "sweep=small", f"output_root={root}",
                )  # fmt: skip
                pack.append(settings)
        train_pack(pack, Console(quiet=True))
    return root / "small"


@pytest.fixture(scope="session")
def small_sweep(trained_sweep: Path) -> Path:
    """The same with its report."""
    write_report(replace(ANALYSIS, sweep=str(trained_sweep)), Console(quiet=True))
    return trained_sweep
