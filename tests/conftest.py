"""Tiny models and data that every test can have: no network, no downloads."""

import io
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from xdist.scheduler import LoadFileScheduling

from softprompt.backbone import Backbone
from softprompt.backbone.bloom import BloomBackbone
from softprompt.backbone.shared_prefix import SharedPrefixBackbone
from softprompt.backbone.unpadded import UnpaddedBackbone
from softprompt.files import file_sha256, sealed_json
from softprompt.parsing import parse_settings
from softprompt.settings import Settings

THOROUGH = "SOFTPROMPT_THOROUGH" in os.environ  # as CI does; a test run by hand should take minutes
thorough = pytest.mark.skipif(not THOROUGH, reason="slow: set SOFTPROMPT_THOROUGH")

torch.set_num_threads(1)  # the models are tiny: a second thread costs more than it brings

ROOT = Path(__file__).parents[1]
WORDS = str.split(
    "Premise: Hypothesis: Answer: Does the hypothesis entail, contradict or is neutral about premise? "
    "entailment contradiction not_entailment choice1 choice2 True False a dog cat is big small red blue runs sleeps not"
)
VOCABULARY = 64


def make_tokenizer(vocabulary: list[str] = WORDS) -> PreTrainedTokenizerFast:
    """One token per word, with BLOOM's special tokens in BLOOM's places."""
    words = ["<unk>", "<s>", "</s>", "<pad>", *dict.fromkeys(vocabulary)]
    model = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def make_model(kind: str, **changes: int) -> torch.nn.Module:
    """A tiny random model whose outputs are far enough apart for an argmax to mean something."""
    torch.manual_seed(0)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    match kind:
        case "bloom":
            shape = {"hidden_size": 32, "n_layer": 2, "n_head": 4, **changes}
            model = BloomForCausalLM(
                BloomConfig(vocab_size=VOCABULARY, initializer_range=0.3, **shape, **ends)
            )
        case "llama":
            shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, **changes}
            config = LlamaConfig(
                vocab_size=VOCABULARY,
                intermediate_size=64,
                initializer_range=0.3,
                num_key_value_heads=2,
                **shape,
                **ends,
            )
            model = LlamaForCausalLM(config)
        case "gpt2":
            shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, **changes}
            model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, initializer_range=0.3, **shape, **ends))
    return model.eval()


class ByFile(LoadFileScheduling):
    """A process runs all tests of a file; one process, those of the small sweep's report, which takes long to write."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "report" if Path(file).stem in ("test_page", "test_report", "test_report_numbers") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


BACKBONES = [
    "bloom",
    "llama",
    "gpt2",
    "bloom-loop",
    "bloom-grid",
    "llama-loop",
    "llama-grid",
    "gpt2-loop",
]


def make_backbone(name: str, **changes: int) -> Backbone:
    """One architecture of each way to encode positions (ALiBi, rotary, learned), with each implementation."""
    kind, _, attention = name.partition("-")
    implementation: type[Backbone] = SharedPrefixBackbone
    if attention:  # chosen here, because by themselves models as narrow as these use grids
        uses_grids = attention == "grid"
        unpadded = BloomBackbone if kind == "bloom" else UnpaddedBackbone
        implementation = type("Chosen", (unpadded,), {"_uses_grids": lambda self: uses_grids})
    return implementation(make_model(kind, **changes), make_tokenizer(), f"tiny-{name}", None)


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return make_backbone(request.param)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A tiny BLOOM as a user would have it on disk."""
    folder = tmp_path_factory.mktemp("model")
    make_model("bloom").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def cb_records(n: int) -> list[dict[str, object]]:
    """Records in CommitmentBank's schema, with a label that the text decides."""
    labels = ["entailment", "contradiction", "neutral"]
    records = []
    for i in range(n):
        animal, colour = ("dog", "cat")[i % 2], ("red", "blue")[i // 2 % 2]
        hypothesis = (f"the {animal} is {colour}", f"the {animal} is not {colour}", f"a {animal} sleeps")[
            i % 3
        ]
        record = {"premise": f"a {colour} {animal} runs", "hypothesis": hypothesis, "label": labels[i % 3]}
        records.append({**record, "idx": i})
    return records


def write_jsonl(path: Path, records: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CB, RTE, COPA and WSC in miniature: real schemas, a handful of records each."""
    root = tmp_path_factory.mktemp("superglue")
    cb = cb_records(20)
    rte = [{**r, "label": "entailment" if r["label"] == "entailment" else "not_entailment"} for r in cb]
    copa = [
        {"premise": "a dog runs", "choice1": "a cat sleeps", "choice2": "a dog is big", "question": "cause",
         "label": i % 2, "idx": i}
        for i in range(20)
    ]  # fmt: skip
    wsc = [
        {"text": "a dog is not big", "target": {"span1_text": "dog", "span2_text": "a", "span1_index": 1,
         "span2_index": 0}, "label": i % 2 == 0, "idx": i}
        for i in range(20)
    ]  # fmt: skip
    for folder, records in {"CB": cb, "RTE": rte, "COPA": copa, "WSC": wsc}.items():
        write_jsonl(root / folder / "train.jsonl", records[:12])
        write_jsonl(root / folder / "val.jsonl", records[12:])
        unlabelled = [{k: v for k, v in record.items() if k != "label"} for record in records[:5]]
        write_jsonl(root / folder / "test.jsonl", unlabelled)
    return root


@pytest.fixture
def config(tmp_path: Path, model_folder: Path, data_folder: Path) -> dict[str, dict[str, object]]:
    """The plain config of a small run, made of the project's own files; tests change it and parse it."""

    def group(path: str) -> dict[str, object]:
        content = yaml.safe_load((ROOT / "conf" / path).read_text())
        return {key: value for key, value in content.items() if key != "defaults"}

    return {
        "task": group("task/cb.yaml"),
        "data": {**group("data/superglue_jsonl.yaml"), "root": str(data_folder)},
        "model": {
            **group("model/bloomz_560m.yaml"),
            "id": str(model_folder),
            "revision": None,
            "dtype": "float32",
        },
        "prompt": group("prompt/text.yaml"),
        "optim": {**group("optim/adam.yaml"), "lr": 0.05},
        "trainer": {**group("trainer/auto.yaml"), "accelerator": "cpu", "max_epochs": 3},
        "logger": group("logger/csv.yaml"),
        "seed": 0,
        "sweep": "test",
        "output_root": str(tmp_path / "outputs"),
        "objective": "loss",
    }


def reseal(folder: Path, **changes: object) -> None:
    """Give a run's files, changed by hand, the checksums that they would have had if they had been written so."""
    result = {**json.loads((folder / "result.json").read_text()), **changes}
    result.pop("checksum", None)
    hashes = {name: file_sha256(folder / name) for name in result["files"]}
    (folder / "result.json").write_text(sealed_json({**result, "files": hashes}))


def checkpoint_state(path: Path) -> dict[str, object]:
    """The state in a checkpoint file, unverified."""
    loaded = torch.load(io.BytesIO(path.read_bytes().partition(b"\n")[2]), weights_only=True)
    return loaded["state"]


def composed(*overrides: str) -> Settings:
    """What `train.py` with these arguments would run."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=list(overrides))
    return parse_settings(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))


@pytest.fixture
def settings(config: dict[str, dict[str, object]]) -> Settings:
    return parse_settings(config)
