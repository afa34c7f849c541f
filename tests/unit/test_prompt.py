from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken

from softprompt.backbone.shared_prefix import SharedPrefixBackbone
from softprompt.errors import UserError
from softprompt.initialisers import initial_prompt
from softprompt.prompt import SoftPrompt
from softprompt.settings import PromptSettings, TaskSettings
from tests.conftest import VOCABULARY, make_model, make_tokenizer

INSTRUCTION = "Does the hypothesis entail, contradict"


@pytest.fixture
def bloom():
    return SharedPrefixBackbone(make_model("bloom"), make_tokenizer(), "tiny-bloom", "abc")


def task(name="cb", answers=("True", "False", "not a")):
    template = "\nPremise: {premise}\nAnswer:"
    return TaskSettings(
        name, "CB", None, INSTRUCTION, template, "label", {answer: [answer] for answer in answers}
    )


def start(bloom, seed=0, on=None, **settings):
    return initial_prompt(PromptSettings(**settings), bloom, on or task(), seed, "prompt")


def test_text_starts_as_the_embeddings_of_the_instruction(bloom):
    prompt = start(bloom, init="text")
    assert bloom.tokenizer.convert_ids_to_tokens(prompt.initial_tokens) == INSTRUCTION.split()
    table = bloom.model.get_input_embeddings().weight
    assert torch.equal(prompt.matrix, table[prompt.initial_tokens])
    assert prompt.initial_text == INSTRUCTION and prompt.matrix.dtype == torch.float32


def test_a_text_of_ones_own_takes_the_place_of_the_instruction(bloom):
    prompt = start(bloom, init="text", text="a dog")
    assert bloom.tokenizer.convert_ids_to_tokens(prompt.initial_tokens) == ["a", "dog"]


@pytest.mark.parametrize(
    ("length", "expected"), [(2, "Does the"), (7, "Does the hypothesis entail, contradict Does the")]
)
def test_length_cuts_or_repeats_the_text(bloom, length, expected):
    tokens = start(bloom, init="text", length=length).initial_tokens
    assert bloom.tokenizer.convert_ids_to_tokens(tokens) == expected.split()


def test_vocab_draws_different_ordinary_tokens_by_the_seed(bloom):
    first, again, other = (start(bloom, seed, init="vocab", length=20) for seed in (1, 1, 2))
    assert first.initial_tokens == again.initial_tokens != other.initial_tokens
    assert len(set(first.initial_tokens)) == 20
    assert not set(first.initial_tokens) & set(bloom.tokenizer.all_special_ids)
    assert max(first.initial_tokens) < len(bloom.tokenizer) < VOCABULARY
    assert start(bloom, init="vocab").matrix.shape[0] == len(INSTRUCTION.split())


def test_vocab_draws_no_added_special_token(bloom):
    bloom.tokenizer.add_tokens([AddedToken("<repo_name>", special=True), AddedToken("plain")])
    tokens = start(bloom, init="vocab", length=len(bloom.tokenizer) - 5).initial_tokens
    drawn = bloom.tokenizer.convert_ids_to_tokens(tokens)
    assert "plain" in drawn and "<repo_name>" not in drawn


@pytest.mark.parametrize("init", ["random", "uniform", "vocab", "common"])
def test_tasks_of_one_seed_start_from_different_rows(bloom, init):
    """Otherwise prompts of one seed would be similar whatever their tasks are."""
    settings = PromptSettings(init=init, length=6)
    of_task = {
        name: initial_prompt(settings, bloom, task(name), 0, "prompt").matrix for name in ("cb", "rte")
    }
    assert not torch.equal(of_task["cb"], of_task["rte"])
    assert torch.equal(of_task["cb"], initial_prompt(settings, bloom, task("cb"), 0, "prompt").matrix)


def test_random_has_the_scale_of_the_embedding_table(bloom):
    prompt = start(bloom, init="random", length=500)
    assert prompt.matrix.std().item() == pytest.approx(bloom.embedding_scale, rel=0.05)
    assert prompt.initial_tokens == []
    assert not torch.equal(prompt.matrix, start(bloom, 1, init="random", length=500).matrix)


def test_uniform_is_within_its_bound_and_by_default_as_spread_out_as_the_table(bloom):
    matrix = start(bloom, init="uniform", length=500, bound=0.5).matrix
    assert matrix.abs().max() <= 0.5 and matrix.std().item() == pytest.approx(0.5 / 3**0.5, rel=0.02)
    spread = start(bloom, init="uniform", length=500).matrix.std().item()
    assert spread == pytest.approx(bloom.embedding_scale, rel=0.02)


def test_common_draws_among_the_ordinary_tokens_with_the_lowest_ids(bloom, monkeypatch):
    monkeypatch.setattr("softprompt.initialisers.MOST_COMMON", 6)
    tokens = start(bloom, init="common", length=6).initial_tokens
    assert sorted(tokens) == [4, 5, 6, 7, 8, 9]  # 0 to 3 are special tokens
    with pytest.raises(UserError, match=r"^prompt\.length=7: the vocabulary has only 6 tokens"):
        start(bloom, init="common", length=7)


def test_labels_are_the_embeddings_of_the_answers_then_common_tokens(bloom):
    table, ids = bloom.model.get_input_embeddings().weight, bloom.tokenizer.convert_tokens_to_ids
    prompt = start(bloom, init="labels", length=8)
    one, other, several = ids(["True", "False"]), ids(["not", "a"]), prompt.matrix[2]
    assert torch.equal(prompt.matrix[:2], table[one])
    assert torch.allclose(several, table[other].mean(0))
    assert prompt.initial_tokens == []  # the third row is no token's
    assert (prompt.matrix[3:, None] == table).all(2).any(1).all()
    assert torch.equal(prompt.matrix, start(bloom, init="labels", length=8).matrix)
    assert len(start(bloom, init="labels", length=1).matrix) == 1
    assert start(bloom, init="labels", length=2).initial_tokens == one
    whole = start(bloom, init="labels", length=4, on=task(answers=("True", "False")))
    assert torch.equal(whole.matrix, table[whole.initial_tokens]) and whole.initial_tokens[:2] == one


def test_free_text_has_no_labels_to_start_from(bloom):
    free = TaskSettings("squad", "S", None, INSTRUCTION, "{question}:", answers="answer")
    with pytest.raises(UserError, match=r"^prompt=labels: the answers of task 'squad' are free text"):
        start(bloom, init="labels", on=free)


def test_saved_and_loaded_is_the_same(bloom, tmp_path):
    prompt = start(bloom, init="text")
    prompt.save(tmp_path / "a.safetensors")
    start(bloom, init="text").save(tmp_path / "b.safetensors")
    loaded = SoftPrompt.load(tmp_path / "a.safetensors")
    assert torch.equal(loaded.matrix, prompt.matrix)
    assert (loaded.backbone, loaded.revision, loaded.task, loaded.initial_tokens) == (
        "tiny-bloom", "abc", "cb", prompt.initial_tokens,
    )  # fmt: skip
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_prompt_starts_from_another_run(bloom, tmp_path):
    other = start(bloom, init="text")
    other.save(tmp_path / "prompt.safetensors")
    prompt = start(bloom, init="file", path=str(tmp_path / "prompt.safetensors"))
    assert torch.equal(prompt.matrix, other.matrix)
    longer = start(bloom, init="file", path=str(tmp_path / "prompt.safetensors"), length=7)
    assert torch.equal(longer.matrix[5:], other.matrix[:2])


def test_a_prompt_for_another_backbone_or_width_is_refused(bloom, tmp_path):
    path = tmp_path / "prompt.safetensors"
    start(bloom, init="text").save(path)
    other = SharedPrefixBackbone(make_model("llama"), make_tokenizer(), "tiny-llama", None)
    with pytest.raises(
        UserError, match="was trained for tiny-bloom, whose embeddings are not those of tiny-llama"
    ):
        start(other, init="file", path=str(path))
    wider = SharedPrefixBackbone(make_model("bloom", hidden_size=48), make_tokenizer(), "tiny-bloom", None)
    with pytest.raises(UserError, match="whose embeddings are not those of tiny-bloom"):
        start(wider, init="file", path=str(path))
    before_hashes = replace(SoftPrompt.load(path), backbone_hash=None)  # as older versions wrote it
    before_hashes.save(path)
    with pytest.raises(UserError, match="this prompt is 32 wide, and the model's embeddings 48"):
        start(wider, init="file", path=str(path))


def test_a_backbone_is_known_by_its_embeddings_not_by_its_name(bloom, tmp_path):
    path = tmp_path / "prompt.safetensors"
    start(bloom, init="text").save(path)
    copy = SharedPrefixBackbone(make_model("bloom").bfloat16(), make_tokenizer(), "a/copy/elsewhere", None)
    assert torch.equal(start(copy, init="file", path=str(path)).matrix, SoftPrompt.load(path).matrix)


def test_what_is_no_prompt_is_refused(bloom, tmp_path):
    with pytest.raises(UserError, match="there is no such prompt"):
        SoftPrompt.load(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(UserError, match="not a prompt saved by softprompt"):
        SoftPrompt.load(tmp_path / "text.safetensors")
    save_file({"prompt": torch.zeros(2, 3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="not a prompt saved by softprompt"):
        SoftPrompt.load(tmp_path / "foreign.safetensors")


def test_an_initialiser_that_does_not_exist_is_named(bloom):
    with pytest.raises(
        UserError,
        match=r"^prompt\.init='zeros': should be one of text, vocab, common, labels, random, uniform, file, run, mean$",
    ):
        start(bloom, init="zeros")
    with pytest.raises(UserError, match=r"^prompt=file needs prompt\.path"):
        start(bloom, init="file")
    with pytest.raises(UserError, match=r"^prompt=run needs prompt\.run"):
        start(bloom, init="run")
    with pytest.raises(UserError, match=r"^prompt=mean needs prompt\.runs"):
        start(bloom, init="mean")


def test_a_vocabulary_too_small_to_draw_from_is_named(bloom):
    with pytest.raises(UserError, match=r"^prompt\.length=500: the vocabulary has only \d+ tokens"):
        start(bloom, init="vocab", length=500)
