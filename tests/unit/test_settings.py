import pytest

from softprompt.errors import UserError
from softprompt.parsing import parse_settings

BAD = [
    ("trainer.max_epochs", 0, "trainer.max_epochs=0: should be greater than or equal to 1"),
    ("trainer.max_epochs", 2.5, "trainer.max_epochs=2.5: should be a valid integer"),
    ("trainer.batch_size", "eight", "trainer.batch_size='eight': should be a valid integer"),
    ("trainer.patience", True, "trainer.patience=True: should be a valid integer"),
    ("trainer.gradient_clip_val", 0, "trainer.gradient_clip_val=0: should be greater than 0"),
    ("trainer.accelerator", "tpu", "trainer.accelerator='tpu': should be 'auto', 'cpu' or 'gpu'"),
    ("trainer.strategy", "fsdp", "trainer.strategy='fsdp': should be 'auto' or 'ddp'"),
    ("model.package", "a..b", "model.package='a..b': String should match pattern"),
    ("model.lr", 0, "model.lr=0: should be greater than 0"),
    (
        "task.verbalizers",
        {True: [1], False: [0]},
        "task.verbalizers.True: the key is True, and should be text",
    ),
    ("trainer.epochs", 3, "trainer.epochs=3: there is no such key"),
    ("optim.lr", 0, "optim.lr=0: should be greater than 0"),
    ("optim.lr", -1.0, "optim.lr=-1.0: should be greater than 0"),
    ("optim._target_", "torch optim", "optim._target_='torch optim': String should match pattern"),
    ("trainer.extra", "fast", "trainer.extra='fast': should be"),
    ("objective", "f1", "objective='f1': should be 'loss' or 'exact_match'"),
    ("data.root", "???", "data.root is missing: set it"),
    ("seed", -1, "seed=-1: should be greater than or equal to 0"),
    ("seed", "zero", "seed='zero': should be a valid integer"),
    ("sweep", "a/b", "sweep='a/b': String should match pattern"),
    ("model.dtype", "float16", "model.dtype='float16': should be 'auto', 'bfloat16' or 'float32'"),
    (
        "model.package",
        "softprompt.microworld.model",
        "needs a file of conf/model that loads by id: add model=any",
    ),
    ("prompt.length", 0, "prompt.length=0: should be greater than or equal to 1"),
    ("data.holdout", 1.0, "data.holdout=1.0: should be less than 1"),
    ("data.source", "csv", "data.source='csv': should be one of 'hub', 'jsonl', 'files', 'microworld'"),
    ("task.template", "no field", "task.template='no field': should name at least one record field"),
    ("task.template", "{premise", "should be text with {field} places"),
    ("task.template", "{premise.upper}", "and nothing but names"),
    ("task.template", "{premise} ", "should not end in white space"),
    ("task.verbalizers", {"yes": [1]}, "should have at least two answers"),
    ("task.verbalizers", {"yes": [1], "no": [1]}, "no label to two answers"),
]


@pytest.mark.parametrize(("key", "value", "message"), BAD)
def test_a_wrong_value_is_named_with_its_key_and_the_rule(config, key, value, message):
    node = config
    *groups, name = key.split(".")
    for group in groups:
        node = node[group]
    node[name] = value
    with pytest.raises(UserError) as caught:
        parse_settings(config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(config):
    del config["trainer"]["patience"]
    with pytest.raises(UserError, match=r"^trainer\.patience is missing: set it$"):
        parse_settings(config)


def test_seed_zero_is_a_seed(config):
    assert parse_settings(config).seed == 0


def test_labels_keep_their_types(config):
    config["task"]["verbalizers"] = {"True": [True, "True"], "False": [False, 0]}
    labels = parse_settings(config).task.verbalizers
    assert [type(label) for values in labels.values() for label in values] == [bool, str, bool, int]


def test_template_fields_are_found_in_order(settings):
    assert settings.task.fields == ["premise", "hypothesis"]
