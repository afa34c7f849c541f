"""What stands beside the weights of the microworld's model: its scores, its card, and the truth about it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from softprompt.backbone import Backbone
from softprompt.data.examples import tokenise
from softprompt.data.sources import read_records
from softprompt.files import write_atomically
from softprompt.pretraining.lessons import taught_instructions
from softprompt.pretraining.pretrain import Recipe
from softprompt.scoring import score_all
from softprompt.settings import MicroworldData, TaskSettings
from softprompt.tasks import render

CARD = """\
# microworld

A BLOOM with {parameters:,} parameters ({layers} layers, {width} wide) that was taught instructions in a small written
language of {vocabulary} words. It comes with softprompt, so that prompt tuning can be tried, tested and taught without
a download, and so that a way of reading soft prompts can be held against what a model was really told.

- **Data.** Lessons drawn from the grammar in `scenes.py`, without end: an instruction, a text in the schema of CB,
  RTE, COPA or WSC, an answer. The instruction is the task's own, one of two paraphrases of it, or one of five to
  eight other questions about the text; one lesson in eight has none. Beside these, stories to be told on and lists of
  words to be repeated. The world and the difficulty grow as lessons go by (`lessons.py`). An eighth of all pairs of
  animals, of things, and of a person and a chain of events is in no text and no story.
- **Recipe.** {steps:,} steps of {batch_size} lessons; Muon for the matrices inside the blocks, AdamW for the rest,
  learning rate up to {learning_rate}, warm-up and cosine; cross-entropy of the answer or story plus {text_loss} times
  that of instruction and text; seed {seed}. `make micro-model`.
  Sums in another order are other numbers, so another machine or version gives another model
  from the same seed, as good or nearly so: `docs/measurements.md` has several.
- **Truth.** `truth.json` has every wording of the tasks' instructions that was taught, and the words in them.
- **Limits.** It knows nothing beside its {vocabulary} words. Licence: Apache-2.0.

Exact match, on the validation records of `conf/data/microworld.yaml` (the pair that the label hangs on is in no
lesson) and, last, on its training records (pairs that lessons have):

| task | n | instruction | paraphrases | no prompt | level 1 | level 2 | level 3 | familiar pairs |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


def write_card(
    folder: Path, backbone: Backbone, recipe: Recipe, tasks: Sequence[TaskSettings], data: MicroworldData
) -> str:
    """Write `README.md`, `scores.json` and `truth.json` into the model's folder; returns the table of scores."""
    scores = {task.name: model_scores(backbone, task, data) for task in tasks}
    truth = {task.name: known_words(backbone, task) for task in tasks}
    rows = "\n".join(
        f"| {name} | {row.pop('n'):.0f} | " + " | ".join(f"{share:.3f}" for share in row.values()) + " |"
        for name, row in ((name, dict(row)) for name, row in scores.items())
    )
    config = backbone.model.config
    card = CARD.format(
        parameters=backbone.model.num_parameters(),
        layers=config.n_layer,
        width=backbone.width,
        vocabulary=config.vocab_size,
        rows=rows,
        **vars(recipe),
    )
    write_atomically(folder / "README.md", card)
    write_atomically(folder / "scores.json", json.dumps(scores, indent=2) + "\n")
    write_atomically(folder / "truth.json", json.dumps(truth, indent=2) + "\n")
    return rows


def model_scores(backbone: Backbone, task: TaskSettings, data: MicroworldData) -> dict[str, float]:
    """Exact match of the model as it is on a task's validation records, and with familiar pairs on train's."""
    own, *others = taught_instructions(task)
    by_level = {f"level_{level}": replace(data, level=level) for level in (1, 2, 3)}
    return {
        "n": len(read_records(data, task).splits["validation"]),
        "instruction": exact_match(backbone, task, data, own),
        "paraphrases": sum(exact_match(backbone, task, data, text) for text in others) / len(others),
        "no_prompt": exact_match(backbone, task, data, ""),
        **{name: exact_match(backbone, task, level, own) for name, level in by_level.items()},
        "familiar": exact_match(backbone, task, data, own, "train"),
    }


def exact_match(
    backbone: Backbone, task: TaskSettings, data: MicroworldData, instruction: str, split: str = "validation"
) -> float:
    """The share of a split that the model answers rightly behind an instruction (empty: behind nothing)."""
    rendered = [render(task, record) for record in read_records(data, task).splits[split]]
    examples = tokenise(task, rendered, backbone.tokenizer)
    prompt = torch.zeros(0, backbone.width)
    if instruction:
        prompt = backbone.embed(backbone.tokenizer(instruction)["input_ids"])
    written = score_all(backbone, [prompt], examples)[0].written
    labels = torch.tensor([example.label for example in examples])
    return float(written[torch.arange(len(examples)), labels].float().mean())


def known_words(backbone: Backbone, task: TaskSettings) -> dict[str, list[str]]:
    """The wordings of a task's instruction that the model was taught, and the words that occur in them."""
    wordings = taught_instructions(task)
    tokens = {token for text in wordings for token in backbone.tokenizer.tokenize(text)}
    return {"instructions": list(wordings), "words": sorted(token for token in tokens if token[0].isalnum())}
