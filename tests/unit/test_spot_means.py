"""Which run from one prompt stands beside a run from the mean."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from softprompt.report.spot_means import from_most_similar
from softprompt.report.spot_runs import RunFromMean, RunFromPrompt
from softprompt.runs import Run
from softprompt.settings import PrefixSettings, PromptSettings, Settings
from tests.conftest import composed

SIMILARITIES = pd.DataFrame({"source": ["cb", "copa", "rte"], "target": "rte", "similarity": [0.2, 0.4, 0.9]})


def run_of(settings: Settings, task: str, name: str = "a") -> Run:
    return Run(replace(settings, task=replace(settings.task, name=task)), Path(name), name)


def test_it_is_of_the_most_similar_source_and_has_the_same_settings() -> None:
    settings = replace(composed("task=rte"), prompt=PromptSettings(init="run", run="-"))
    cb, copa = run_of(settings, "cb"), run_of(settings, "copa")
    other_settings = [
        replace(settings, optim=replace(settings.optim, lr=0.5)),
        replace(settings, method=PrefixSettings("prefix", None)),
        replace(settings, prompt=replace(settings.prompt, length=5)),
        replace(settings, seed=settings.seed + 1),
    ]
    mean = run_of(replace(settings, prompt=PromptSettings(init="mean", runs=["-"], like="-")), "rte")
    one = RunFromMean(mean, [cb, copa], [0.3, 0.7], mean)

    like_it = RunFromPrompt(run_of(settings, "rte", "like it"), copa, mean)
    different = [RunFromPrompt(run_of(other, "rte"), copa, mean) for other in other_settings]
    less_similar = RunFromPrompt(run_of(settings, "rte"), cb, mean)
    assert from_most_similar(one, [less_similar, *different, like_it], SIMILARITIES) == [like_it]
    assert not from_most_similar(one, [less_similar, *different], SIMILARITIES)
    twice = [like_it, replace(like_it, run=run_of(settings, "rte", "another"))]
    assert from_most_similar(one, twice, SIMILARITIES) == twice
