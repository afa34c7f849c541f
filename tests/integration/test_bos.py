"""A model that was trained behind a beginning-of-sequence token gets it in front of every prompt, untrained."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from rich.console import Console
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer

import softprompt
from softprompt.adapter import read_adapter
from softprompt.backbone import Backbone, load_backbone
from softprompt.backbone.generating import generate
from softprompt.backbone.lens import logit_lens
from softprompt.backbone.writing import write_greedily
from softprompt.data.batch import Batch
from softprompt.errors import UserError
from softprompt.peft import export
from softprompt.renamed import current_config
from softprompt.runs import Run
from softprompt.settings import PromptSettings, Settings
from softprompt.study import Study
from softprompt.training.train import run_of, train_pack
from tests.conftest import cb_records, make_model, make_tokenizer
from tests.integration.small_sweep import ANALYSIS

QUIET = Console(quiet=True)
BEGIN = 1  # the id of <s>


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose tokenizer puts <s> in front of every text."""
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BEGIN)]
    )
    tokenizer.save_pretrained(folder)
    make_model("llama").save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder)("a dog")["input_ids"][0] == BEGIN
    return folder


@pytest.fixture
def with_bos(settings: Settings, llama_folder: Path) -> Settings:
    return replace(settings, model=replace(settings.model, id=str(llama_folder), bos="auto"))


def backbone_of(settings: Settings) -> Backbone:
    return load_backbone(settings.model, torch.float32)


def own_logits(backbone: Backbone, rows: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """The model's own logits behind <s>, rows and tokens."""
    tokens = backbone.model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long))
    begin = backbone.model.get_input_embeddings()(torch.tensor([BEGIN]))
    return backbone.model(inputs_embeds=torch.cat([begin, rows, tokens])[None]).logits[0]


def test_every_implementation_puts_it_in_front(backbone: Backbone) -> None:
    """The prompt's gradient has the prompt's rows."""
    begin = backbone.embed([BEGIN])
    batch = Batch.of_texts([([5, 9, 7], [[8, 2], [11, 4, 2]]), ([6], [[8, 2]]), ([9, 9], [[2]])], [0, 1, 2])
    prompts = [torch.nn.Parameter(torch.randn(n, backbone.width)) for n in (3, 1, 0)]
    by_hand = backbone.answer_logits([torch.cat([begin, prompt]) for prompt in prompts], batch)
    context = backbone.context_length
    backbone.bos_id = BEGIN
    logits = backbone.answer_logits(prompts, batch)
    assert torch.equal(logits, by_hand)
    logits.sum().backward()
    assert prompts[0].grad is not None and prompts[0].grad.shape == (3, backbone.width)
    assert context is None or backbone.context_length == context - 1


def test_what_is_generated_stands_behind_it(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, texts = torch.randn(3, backbone.width) * 0.3, [[7, 8, 9], [10, 11]]
    bare = generate(backbone, [torch.cat([backbone.embed([BEGIN]), prompt])], texts, [0, 0], 4)
    without = generate(backbone, [prompt], texts, [0, 0], 4)
    monkeypatch.setattr(backbone, "bos_id", BEGIN)
    assert generate(backbone, [prompt], texts, [0, 0], 4) == bare != without


def test_a_run_is_trained_behind_it_and_says_so(with_bos: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO())
    (run,) = train_pack([with_bos], console)
    assert console.file.getvalue().count("in front of every prompt: <s>") == 1
    assert run.result()["hashes"]["model/bos"] == "<s>"
    prompt = run.best_prompt()
    assert prompt.bos == BEGIN and run.initial_prompt().bos == BEGIN
    backbone = backbone_of(with_bos)
    assert len(prompt.matrix) == len(backbone.tokens_of(with_bos.task.instruction))
    text, answer = [5, 9, 7, 20], [8, 2]
    with torch.no_grad():
        for rows in (prompt.matrix, torch.zeros(0, backbone.width)):
            ours = backbone.answer_logits([rows], Batch.of_pairs([(text, answer)]))
            theirs = own_logits(backbone, rows, [*text, *answer])[-3:-1]
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    trained = softprompt.load(run.path)
    assert trained.backbone.bos_id == BEGIN
    records = cb_records(20)[12:]
    assert trained.score(records).loss == pytest.approx(run.result()["tuned"]["loss"], rel=1e-5)
    monkeypatch.setattr(trained.backbone, "bos_id", None)
    assert trained.score(records).loss != pytest.approx(run.result()["tuned"]["loss"], rel=1e-3)


def test_the_run_is_another_one_only_if_the_token_is_in_front(with_bos: Settings, settings: Settings) -> None:
    def id_with(base: Settings, bos: str | bool) -> str:
        return run_of(replace(base, model=replace(base.model, bos=bos))).id

    assert id_with(with_bos, "auto") == id_with(with_bos, True) != id_with(with_bos, False)
    assert id_with(settings, "auto") == id_with(settings, False) != id_with(settings, True)


def test_without_it_files_are_as_before(settings: Settings) -> None:
    (run,) = train_pack([settings], QUIET)
    assert "model/bos" not in run.result()["hashes"]
    assert b"bos" not in (run.path / "prompt.safetensors").read_bytes()
    stored = {"model": {"id": "m", "lr": None}, "trainer": {}}
    assert current_config(stored)["model"]["bos"] is False  # a run of a version that knew nothing of it


def test_a_finished_run_keeps_it_whatever_its_tokenizer_does_now(with_bos: Settings) -> None:
    with_bos = replace(with_bos, trainer=replace(with_bos.trainer, max_steps=0))
    (run,) = train_pack([with_bos], QUIET)
    assert Run.at(run.path).settings.model.bos == "auto" and Run.at(run.path).trained_model().bos is True


def test_a_tokenizer_without_the_token_cannot_put_it_in_front(
    settings: Settings, model_folder: Path, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer()
    tokenizer.bos_token = None
    tokenizer.save_pretrained(tmp_path / "model")
    make_model("bloom").save_pretrained(tmp_path / "model")
    settings = replace(settings, model=replace(settings.model, id=str(tmp_path / "model"), bos=True))
    with pytest.raises(
        UserError, match=r"model\.bos=true: the model's tokenizer has no beginning-of-sequence"
    ):
        train_pack([settings], QUIET)


def test_peft_has_it_as_the_first_virtual_token(
    with_bos: Settings, llama_folder: Path, tmp_path: Path
) -> None:
    (run,) = train_pack([with_bos], QUIET)
    export(run.path, tmp_path / "adapter")
    prompt, backbone = run.best_prompt().matrix, backbone_of(with_bos)
    assert torch.equal(
        read_adapter(tmp_path / "adapter").matrix, torch.cat([backbone.embed([BEGIN]), prompt])
    )
    assert (
        json.loads((tmp_path / "adapter/adapter_config.json").read_text())["num_virtual_tokens"]
        == len(prompt) + 1
    )
    assert "The first row is the embedding of the beginning" in (tmp_path / "adapter/README.md").read_text()
    text, answer = [5, 9, 7, 20], [8, 2]
    tokens = torch.tensor([[*text, *answer]])
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(llama_folder), tmp_path / "adapter"
    )
    with torch.no_grad():
        theirs = model.eval()(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0, -3:-1]
        ours = backbone.answer_logits([prompt], Batch.of_pairs([(text, answer)]))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)

    # As a start it is the same prompt, in front of which the token is put again or is still there.
    start = replace(
        with_bos,
        prompt=PromptSettings(init="file", path=str(tmp_path / "adapter")),
        trainer=replace(with_bos.trainer, max_steps=0),
    )
    as_is = replace(start, model=replace(start.model, bos=False))
    for again, rows in ((start, len(prompt)), (as_is, len(prompt) + 1)):
        (scored,) = train_pack([again], QUIET)
        assert len(scored.best_prompt().matrix) == rows
        assert scored.result()["tuned"] == pytest.approx(run.result()["tuned"], rel=1e-5)


def test_prompts_are_read_behind_it(with_bos: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = backbone_of(with_bos)
    rows = backbone.embed([5, 9, 7])
    with torch.no_grad():
        behind = own_logits(backbone, rows, [])  # [1 + n, V]
    (lens,) = logit_lens(backbone, [rows]) or []
    torch.testing.assert_close(lens, behind[1:].softmax(-1).mean(0))
    (written,) = write_greedily(backbone, [rows], [4])
    expected = backbone.model.generate(torch.tensor([[BEGIN, 5, 9, 7]]), max_new_tokens=4, do_sample=False)
    assert written == [token for token in expected[0, 4:].tolist() if token != 2]
    with_token = backbone.feed_forward_activity(rows)
    monkeypatch.setattr(backbone, "bos_id", None)
    without = backbone.feed_forward_activity(torch.cat([backbone.embed([BEGIN]), rows]))
    assert with_token is not None and without is not None and torch.equal(with_token, without)


def test_runs_with_and_without_it_are_not_compared(with_bos: Settings) -> None:
    short = replace(with_bos, trainer=replace(with_bos.trainer, max_steps=0))
    for bos in (True, False):
        train_pack([replace(short, model=replace(short.model, bos=bos))], QUIET)
    folder = Path(short.output_root) / short.sweep
    with pytest.raises(UserError, match=r"its runs are of 2 models \(.* behind <s>\)"):
        Study(folder, QUIET, ANALYSIS)
