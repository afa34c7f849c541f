"""The memory that a run takes because of its method: formulas against the tensors themselves."""

from dataclasses import replace

import lightning as L
import pytest
import torch

from softprompt.backbone import Backbone
from softprompt.backbone.padded import PaddedBackbone
from softprompt.data.order import DataOrder
from softprompt.methods import Method, make_method
from softprompt.runs import Run
from softprompt.settings import (
    MethodSettings,
    OptimSettings,
    PezSettings,
    PrefixSettings,
    Settings,
    SoftSettings,
)
from softprompt.training.callbacks.peak_memory import PeakMemory
from softprompt.training.member import Member
from softprompt.training.optimizers import make_optimizer
from softprompt.training.run_memory import run_memory
from softprompt.training.run_state import RunState
from softprompt.training.tuning import PromptTuning
from tests.conftest import make_backbone
from tests.unit.test_methods import ALL, AUTOPROMPT, start_of, task, values_of


def state_of(method: Method, backbone: Backbone, steps: int = 1) -> RunState:
    start = start_of(method, backbone)
    return RunState.start(start, values_of(method, start).data, DataOrder(0, 4, 2, epoch=0, step=steps))


def taken_step(state: RunState, optimizer: str) -> int:
    """Take a step with an optimiser. Returns the bytes of values, gradient, and the optimiser's matrices."""
    settings = OptimSettings("any", f"torch.optim.{optimizer}", 0.1, {})
    stepped = make_optimizer(settings, [state.prompt])
    state.prompt.grad = torch.ones_like(state.prompt)
    stepped.step()
    state.optimizer_state = dict(stepped.state[state.prompt])
    names = {"Adam": ["exp_avg", "exp_avg_sq"], "SGD": []}[optimizer]
    kept = [state.prompt, state.prompt.grad, *(state.optimizer_state[name] for name in names)]
    return sum(tensor.untyped_storage().nbytes() for tensor in kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("settings", ALL, ids=str)
@pytest.mark.parametrize("bos", [None, 1])
def test_keys_and_values_are_those_of_the_model_s_cache(
    settings: MethodSettings, bos: int | None, dtype: torch.dtype
) -> None:
    backbone = make_backbone("llama")  # two of four heads have keys and values
    backbone.bos_id = bos
    backbone.model.to(dtype)
    method = make_method(settings, backbone, task())
    rows = backbone.behind_bos(backbone.embed_text("Does the dog entail, a big cat"))
    cache = backbone.model.base_model(inputs_embeds=rows[None].to(dtype), use_cache=True).past_key_values
    held = sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))
    assert run_memory(method, state_of(method, backbone))["keys_and_values"] == held


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
@pytest.mark.parametrize("settings", [SoftSettings(), *ALL[1:4]], ids=str)
def test_training_is_values_gradient_and_the_optimiser_s_state(
    settings: MethodSettings, optimizer: str
) -> None:
    backbone = make_backbone("gpt2")
    method = make_method(settings, backbone, task())
    state = state_of(method, backbone)
    taken = taken_step(state, optimizer)
    assert (
        run_memory(method, state)["training"]
        == taken
        == 4 * state.prompt.numel() * (4 if optimizer == "Adam" else 2)
    )


def test_a_search_keeps_rows_and_their_gradient_alone() -> None:
    backbone = make_backbone("gpt2")
    method = make_method(AUTOPROMPT, backbone, task())
    state = state_of(method, backbone)
    assert run_memory(method, state)["training"] == 2 * state.initial.matrix.nbytes


def test_what_was_not_trained_and_what_has_no_cache_is_left_out() -> None:
    inner = make_backbone("gpt2")
    backbone = PaddedBackbone(inner.model, inner.tokenizer, inner.id, None)
    method = make_method(PezSettings("pez"), backbone, task())
    memory = run_memory(method, state_of(method, backbone, steps=0))
    assert memory == {"keys_and_values": None, "training": None, "peak": None}


@pytest.fixture
def trainer() -> L.Trainer:
    return L.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)


def module_of(settings: Settings, runs: int) -> PromptTuning:
    backbone = make_backbone("gpt2")
    method = make_method(PrefixSettings("prefix", None), backbone, task())
    members = [
        Member(Run.of(replace(settings, seed=seed), {}), state_of(method, backbone), None)
        for seed in range(runs)
    ]
    return PromptTuning(method, members, settings.task)


@pytest.mark.parametrize(("device", "runs"), [("cuda", 1), ("cuda", 2), ("cpu", 1)])
def test_the_peak_is_the_highest_of_the_steps_beyond_the_weights(
    settings: Settings,
    trainer: L.Trainer,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    runs: int,
) -> None:
    """An evaluation between the steps needs more. The peak of a pack belongs to none of its runs."""
    module = module_of(settings, runs)
    weights = sum({id(p): p.nbytes for p in [*module.backbone.model.parameters()]}.values())
    allocated = {"peak": 0}
    monkeypatch.setattr(PromptTuning, "device", torch.device(device))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: allocated.update(peak=weights))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: allocated["peak"])
    callback = PeakMemory()
    for step, of_evaluation in [(1000, 0), (3000, 9000), (2000, 0)]:
        callback.on_train_batch_start(trainer, module)
        allocated["peak"] = max(allocated["peak"], weights + step)
        callback.on_train_batch_end(trainer, module)
        allocated["peak"] = max(allocated["peak"], weights + of_evaluation)
    measured = device == "cuda" and runs == 1
    known = (3000, 3) if measured else (0, 0)
    assert [(run.peak_memory, run.measured_steps) for run in module.runs] == [known] * runs
    state = module.runs[0].state_dict({})
    again = RunState.from_state_dict(state)
    assert (again.peak_memory, again.measured_steps) == known
    del state["peak_memory"], state["measured_steps"]  # a checkpoint of an earlier version
    assert RunState.from_state_dict(state).measured_steps == 0


@pytest.mark.parametrize(("measured", "peak"), [(3, 5000), (2, None), (0, None)])
def test_the_peak_is_unknown_unless_every_step_was_measured(measured: int, peak: int | None) -> None:
    """A run of a pack whose other runs have ended trains its last steps alone."""
    backbone = make_backbone("gpt2")
    method = make_method(PrefixSettings("prefix", None), backbone, task())
    state = state_of(method, backbone, steps=3)
    state.peak_memory, state.measured_steps = 5000 if measured else 0, measured
    assert run_memory(method, state)["peak"] == peak
