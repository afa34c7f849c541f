import math
from dataclasses import replace

import pytest
import torch

from softprompt.data.order import DataOrder
from softprompt.evaluation import Scores
from softprompt.settings import SGD, Adafactor, Adam, AdamW
from softprompt.tuning import RunState, make_optimizer


def scores(loss):
    return Scores(loss=loss, exact_match=0.5, rank_accuracy=0.5, macro_f1=0.5, outside=0.0, n=10)


@pytest.fixture
def run():
    return RunState.start(torch.zeros(2, 3), DataOrder(0, 4, 2))


def learn(run, trainer, losses):
    """An epoch before every evaluation but the first; the prompt says which."""
    for number, loss in enumerate(losses):
        run.prompt.data.fill_(number)
        if number:
            run.order.advance()
            run.order.advance()
        run.observe(scores(loss), trainer)
        if not run.live:
            break


def test_the_best_prompt_is_kept_and_patience_ends_the_run(run, settings):
    trainer = replace(settings.trainer, patience=2, max_epochs=50)
    learn(run, trainer, [3.0, 2.0, 2.5, 1.0, 1.0, 1.5, 0.1])
    assert run.stopped == "early"
    assert (run.best_loss, run.best_step) == (1.0, 6)
    assert torch.equal(run.best_prompt, torch.full((2, 3), 3.0))
    assert run.best_scores["loss"] == 1.0
    assert [row["epoch"] for row in run.history] == [0, 1, 2, 3, 4, 5]


def test_a_run_that_never_improves_keeps_its_start(run, settings):
    learn(run, replace(settings.trainer, patience=2), [1.0, 2.0, 3.0])
    assert run.best_step == 0 and torch.equal(run.best_prompt, torch.zeros(2, 3))


def test_epochs_and_steps_end_a_run(run, settings):
    learn(run, replace(settings.trainer, max_epochs=2), [3.0, 2.0, 1.0, 0.5])
    assert run.stopped == "max_epochs" and run.order.epoch == 2
    other = RunState.start(torch.zeros(2, 3), DataOrder(0, 4, 2))
    learn(other, replace(settings.trainer, max_steps=4), [3.0, 2.0, 1.0, 0.5])
    assert other.stopped == "max_steps" and other.order.total_steps == 4


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_fails_the_run(run, settings, loss):
    learn(run, settings.trainer, [1.0, loss])
    assert run.failed == f"the validation loss is {loss} after 2 steps" and not run.live


def test_a_state_comes_back_as_it_was(run, settings):
    learn(run, settings.trainer, [3.0, 2.0])
    run.loss_sum, run.token_count, run.seconds = 1.5, 3, 12.0
    state = run.state_dict({"exp_avg": torch.ones(2, 3), "step": torch.tensor(2.0)})
    back = RunState.resume(state)
    assert torch.equal(back.prompt, run.prompt) and back.order == run.order
    assert torch.equal(back.best_prompt, run.best_prompt)
    assert back.optimizer_state["step"] == 2.0
    for name in ("best_step", "best_loss", "history", "loss_sum", "token_count", "seconds", "stopped"):
        assert getattr(back, name) == getattr(run, name) or name == "history"


@pytest.mark.parametrize(
    ("optim", "kind"),
    [
        (Adam(name="adam", lr=0.1, betas=[0.8, 0.9], eps=1e-6), torch.optim.Adam),
        (AdamW(name="adamw", lr=0.1, betas=[0.8, 0.9], eps=1e-6, weight_decay=0.1), torch.optim.AdamW),
        (Adafactor(name="adafactor", lr=0.1, weight_decay=0.0), torch.optim.Adafactor),
        (SGD(name="sgd", lr=0.1, momentum=0.5, weight_decay=0.2), torch.optim.SGD),
    ],
)
def test_every_optimiser_takes_its_values(optim, kind):
    optimizer = make_optimizer(optim, [torch.nn.Parameter(torch.ones(2, 3))])
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    for name, value in vars(optim).items():
        if name != "name" and not name.startswith("_"):
            assert group[name] == (tuple(value) if isinstance(value, list) else value)
