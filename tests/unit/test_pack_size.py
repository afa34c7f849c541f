"""The step that measures how many runs fit into a GPU's memory. Here it runs on the CPU."""

import pytest
import torch

from softprompt.backbone import Backbone
from softprompt.data.examples import tokenise
from softprompt.methods import make_method
from softprompt.settings import MethodSettings
from softprompt.tasks import Rendered
from softprompt.training.pack_size import take_step
from tests.unit.test_methods import ALL, task


@pytest.mark.parametrize("settings", ALL, ids=str)
def test_a_step_of_every_method_has_a_gradient_of_all_that_is_trained(
    backbone: Backbone, settings: MethodSettings
) -> None:
    own = task("entailment", "neutral")
    texts = [Rendered(text, 0, "") for text in ("The dog is red", "A cat")]
    examples = tokenise(own, texts, backbone.tokenizer, backbone.table_rows)
    trained = take_step(make_method(settings, backbone, own), examples, 5, 2, torch.device("cpu"))
    assert len(trained) == 2 and all(values.grad is not None for values in trained)
    assert all(torch.isfinite(values.grad).all() and values.grad.any() for values in trained)
