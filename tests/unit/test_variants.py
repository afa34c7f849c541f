import pytest

from softprompt.analysis.variants import variant_names
from softprompt.runs import identity
from tests.conftest import composed


@pytest.mark.parametrize(
    ("sweep", "names"),
    [
        ([[], ["seed=1"], ["task=rte"]], ["text", "text", "text"]),
        ([["prompt=text"], ["prompt=random"]], ["text", "random"]),
        ([["optim=adam"], ["optim=sgd"]], ["text, adam", "text, sgd"]),
        ([["optim.lr=0.01"], ["optim.lr=0.1"]], ["text, optim.lr=0.01", "text, optim.lr=0.1"]),
        # Learning rates are compared only between runs with the same optimiser.
        (
            [["optim=adam", "optim.lr=0.1"], ["optim=sgd", "optim.lr=1.0"], ["optim=sgd", "optim.lr=2.0"]],
            ["text, adam", "text, sgd, optim.lr=1.0", "text, sgd, optim.lr=2.0"],
        ),
        ([["method=prompt"], ["method=pez"]], ["text, prompt", "text, pez"]),
        # Learning rates and settings of a method are compared only between runs of the same method.
        (
            [["method=prompt"], ["method=prefix", "method.hidden=8"], ["method=prefix"]],
            ["text, prompt", "text, prefix, method.hidden=8", "text, prefix, method.hidden=None"],
        ),
        ([["trainer.threads=1"], ["trainer.threads=2"]], ["text", "text"]),  # not part of a run's identity
        # A setting that differs only between tasks does not distinguish runs of one task.
        ([["task=cb", "trainer.max_epochs=5"], ["task=rte", "trainer.max_epochs=9"]], ["text", "text"]),
        ([["prompt=text", "prompt.text=A dog"], ["prompt=random"]], ["text", "random"]),
        (
            [
                ["prompt=run", f"prompt.run=demo/{run}", f"seed={seed}"]
                for seed, run in enumerate(["rte/text-seed0-ab", "rte/text-seed1-ba", "cb/text-seed2-aa"])
            ],
            ["run, rte/text", "run, rte/text", "run, cb/text"],
        ),
        (
            [
                [
                    "prompt=mean",
                    f"prompt.runs=[demo/cb/text-seed{seed}-a, {other}-seed{seed}-b]",
                    "prompt.like=x",
                    f"seed={seed}",
                ]
                for seed, other in enumerate(["demo/wsc/text", "demo/wsc/text", "demo/wsc/random"])
            ],
            ["mean, cb/text + wsc/text", "mean, cb/text + wsc/text", "mean, cb/text + wsc/random"],
        ),
        (
            [["task.instruction=A dog"], ["task.instruction=A cat"]],
            ["text, task.instruction=A dog", "text, task.instruction=A cat"],
        ),
    ],
)
def test_a_variant_is_named_by_what_differs_within_its_task(sweep: list[list[str]], names: list[str]) -> None:
    identities = [identity(composed(*overrides)) for overrides in sweep]
    assert variant_names(identities) == names
