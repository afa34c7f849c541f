"""How a run of a pack begins: its state before the next step, and the first evaluation of its learning curve."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from softprompt.initialisers import initial_prompt, seeded
from softprompt.scoring import Scores
from softprompt.training.member import Member
from softprompt.training.optimizers import learning_rate
from softprompt.training.run_state import RunState
from softprompt.training.scorer import Scorer
from softprompt.training.shared import Shared
from softprompt.training.waiting import Claim


def state_of(claim: Claim, shared: Shared, say: Callable[[str], None]) -> RunState:
    """A run's state: as an earlier process left it, or new.

    Raises:
        UserError: the initialiser or the method cannot make this start, or an example does not fit the model's context behind
            it.
    """
    settings, path = claim.run.settings, claim.run.path
    if claim.state is None:
        method = settings.method.name
        initial = initial_prompt(settings.prompt, shared.backbone, settings.task, settings.seed, method)
        start = shared.method.start(initial)
        # Other random numbers than those of the start, which may be random rows.
        generator = seeded(f"{settings.task.name} {settings.method.name}", settings.seed)
        values = shared.method.values(start, generator)
        state = RunState.start(start, values, shared.data.new_order(settings.seed), shared.dtype)
        step = "" if settings.optim.lr else f"; optim.lr={learning_rate(settings.optim, shared.method)}"
        say(f"{path}: {len(start.matrix)} rows from {settings.prompt.init}{step}")
    else:
        state = claim.state
    shared.check_length(len(state.initial.matrix))
    return state


def evaluate_starts(
    members: Sequence[Member], shared: Shared, scorer: Scorer, baselines: Mapping[str, Any]
) -> None:
    """Evaluate runs whose next event is an evaluation.

    That is the first row of every new run's learning curve, before any step, and for a run that was interrupted at
    the end of an epoch, the evaluation that it did not get.

    Args:
        baselines: the scores without tuning; those of the instruction are not computed twice.
    """
    unknown: list[tuple[Member, Tensor]] = []  # with what stands in front
    for member in members:
        state = member.state
        if not state.live or state.steps_to_evaluation(member.limits) > 0:
            continue
        in_front = shared.method.in_front(state.prompt.detach(), state.initial.matrix)
        if shared.selects_on_validation and torch.equal(in_front, shared.instruction):
            state.observe(Scores.of_row(baselines["instruction"]), in_front, member.limits)
        else:
            unknown.append((member, in_front))
    if unknown:
        starts = [in_front for _, in_front in unknown]
        scores = scorer.scores("the start", shared.method.view, starts, shared.data.selection)
        for (member, in_front), of_start in zip(unknown, scores, strict=True):
            member.state.observe(of_start, in_front, member.limits)
