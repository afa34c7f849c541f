import math
from dataclasses import replace

import pytest
import torch

from softprompt.data.order import DataOrder
from softprompt.errors import UserError
from softprompt.methods.hard import HardMethod
from softprompt.methods.prefix import PrefixMethod
from softprompt.methods.soft import SoftMethod
from softprompt.prompt import SoftPrompt
from softprompt.scoring import Scores
from softprompt.settings import OptimSettings
from softprompt.training.optimizers import learning_rate, make_optimizer
from softprompt.training.run_state import RunState
from tests.conftest import make_backbone


def scores(loss):
    return Scores(
        loss=loss, exact_match=0.5, rank_accuracy=0.5, macro_f1=0.5, invalid_prediction_rate=0.0, n=10
    )


@pytest.fixture
def run():
    return RunState.start(
        SoftPrompt(torch.zeros(2, 3), "m", None, "cb", "random"), torch.zeros(2, 3), DataOrder(0, 4, 2)
    )


def learn(run, trainer, losses):
    """An epoch before every evaluation but the first; the prompt says which."""
    for number, loss in enumerate(losses):
        run.prompt.data.fill_(number)
        if number:
            run.order.advance()
            run.order.advance()
        run.observe(scores(loss), run.prompt, trainer)
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


def test_a_loss_that_hardly_falls_uses_up_patience_but_the_best_prompt_is_the_lowest(run, settings):
    trainer = replace(settings.trainer, patience=3, max_epochs=50, min_delta=0.01)
    learn(run, trainer, [1.0, 0.999, 0.998, 0.997, 0.996])
    assert run.stopped == "early" and len(run.history) == 4
    assert (run.best_loss, run.best_step) == (0.997, 6)


def test_a_slow_but_steady_fall_adds_up(run, settings):
    trainer = replace(settings.trainer, patience=3, max_epochs=50, min_delta=0.01)
    learn(run, trainer, [1.0, 0.995, 0.989, 0.984, 0.978, 0.978])
    assert run.live and run.evaluations_without_improvement == 1 and run.loss_to_beat == 0.978


def evaluated_steps(run, trainer, steps):
    """The steps after which a run is evaluated that takes `steps` steps, and those it is told to take until then."""
    evaluated, told = [], []
    for step in range(steps + 1):
        if run.steps_to_evaluation(trainer) == 0:
            run.observe(scores(1.0), run.prompt, trainer)
            evaluated.append(step)
            told.append(step + run.steps_to_evaluation(trainer))
        run.order.advance()
    return evaluated, told


def test_a_run_is_evaluated_after_every_epoch_and_early_if_asked(settings):
    def new():
        return RunState.start(
            SoftPrompt(torch.zeros(2, 3), "m", None, "cb", "random"), torch.zeros(2, 3), DataOrder(0, 20, 2)
        )

    limits = replace(settings.trainer, patience=50, max_epochs=50, max_steps=25)
    assert evaluated_steps(new(), limits, 25) == ([0, 10, 20, 25], [10, 20, 25, 25])
    early = replace(limits, early_evaluations=True)
    evaluated, told = evaluated_steps(new(), early, 25)
    assert evaluated == [0, 1, 2, 4, 8, 10, 20, 25] and told == [*evaluated[1:], 25]


def test_early_evaluations_may_be_the_best_but_do_not_count_for_patience(settings):
    run = RunState.start(
        SoftPrompt(torch.zeros(2, 3), "m", None, "cb", "random"), torch.zeros(2, 3), DataOrder(0, 20, 2)
    )
    limits = replace(settings.trainer, patience=2, max_epochs=50, early_evaluations=True)
    run.observe(scores(3.0), run.prompt, limits)
    for step in range(1, 10):
        run.order.advance()
        if run.steps_to_evaluation(limits) == 0:
            run.observe(scores(1.0 if step == 4 else 5.0), run.prompt, limits)
    assert run.best_step == 4 and run.evaluations_without_improvement == 0 and run.live
    run.order.advance()
    run.observe(scores(2.0), run.prompt, limits)  # lower than at the start, the last one that counts
    assert run.best_step == 4 and run.loss_to_beat == 2.0


def test_epochs_and_steps_end_a_run(run, settings):
    learn(run, replace(settings.trainer, max_epochs=2), [3.0, 2.0, 1.0, 0.5])
    assert run.stopped == "max_epochs" and run.order.epoch == 2
    other = RunState.start(
        SoftPrompt(torch.zeros(2, 3), "m", None, "cb", "random"), torch.zeros(2, 3), DataOrder(0, 4, 2)
    )
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
    back = RunState.from_state_dict(state)
    assert torch.equal(back.prompt, run.prompt) and back.order == run.order
    assert torch.equal(back.best_prompt, run.best_prompt)
    assert back.optimizer_state["step"] == 2.0
    for name in ("best_step", "best_loss", "history", "loss_sum", "token_count", "seconds", "stopped"):
        assert getattr(back, name) == getattr(run, name) or name == "history"


def optim(target, **arguments):
    return OptimSettings("mine", target, 0.1, arguments)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (optim("torch.optim.Adam", betas=[0.8, 0.9], eps=1e-6), torch.optim.Adam),
        (optim("torch.optim.AdamW", betas=[0.8, 0.9], eps=1e-6, weight_decay=0.1), torch.optim.AdamW),
        (optim("torch.optim.Adafactor", weight_decay=0.0), torch.optim.Adafactor),
        (optim("torch.optim.SGD", momentum=0.5, weight_decay=0.2), torch.optim.SGD),
        (optim("torch.optim.NAdam", momentum_decay=0.01), torch.optim.NAdam),  # of no file in conf
    ],
)
def test_every_optimiser_takes_its_values(settings, kind):
    optimizer = make_optimizer(settings, [torch.nn.Parameter(torch.ones(2, 3))])
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert group["lr"] == 0.1
    for name, value in settings.arguments.items():
        assert group[name] == (tuple(value) if isinstance(value, list) else value)


def test_the_default_learning_rate_follows_from_the_model():
    backbone = make_backbone("bloom")
    scale = backbone.model.get_input_embeddings().weight.std().item()
    unset = OptimSettings("adam", "torch.optim.Adam", None, {})
    assert learning_rate(optim("torch.optim.Adam"), SoftMethod(backbone)) == 0.1
    default = learning_rate(unset, SoftMethod(backbone))
    assert default == pytest.approx(0.04 * scale, rel=0.05) and len(f"{default:g}".lstrip("0.")) <= 2
    assert learning_rate(unset, HardMethod(backbone, [], project=True)) == pytest.approx(
        0.6 * scale, rel=0.05
    )
    keys_and_values = backbone.keys_and_values(
        backbone.embed(torch.linspace(0, 63, 16).long().tolist())
    ).std()
    assert learning_rate(unset, PrefixMethod(backbone, None)) == pytest.approx(
        0.04 * float(keys_and_values), rel=0.05
    )
    assert learning_rate(unset, PrefixMethod(backbone, 8)) == 0.0008


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            optim("torch.optim.Lion"),
            "optim._target_=torch.optim.Lion: should be the path of a torch.optim.Optimizer",
        ),
        (optim("os.remove"), "optim._target_=os.remove: should be the path of"),
        (
            optim("torch.optim.Adam", momentum=0.5),
            "optim.momentum=0.5: there is no such key; torch.optim.Adam takes lr, betas",
        ),
        (optim("torch.optim.Adam", betas=[0.9, 1.5]), "Invalid beta parameter at index 1: 1.5"),
        (optim("torch.optim.Adam", betas=[0.9]), "optim: torch.optim.Adam does not take lr=0.1, betas=[0.9]"),
        (
            optim("torch.optim.SGD", momentum="much"),
            "optim: torch.optim.SGD does not take lr=0.1, momentum=much",
        ),
    ],
)
def test_an_optimiser_that_cannot_be_made_is_one_line(settings, message):
    with pytest.raises(UserError) as caught:
        make_optimizer(settings, [torch.nn.Parameter(torch.ones(2, 3))])
    assert message in str(caught.value) and "\n" not in str(caught.value)
