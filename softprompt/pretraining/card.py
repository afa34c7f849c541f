"""Writes the scores of the microworld's model, its model card, and the instructions that it was taught."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from softprompt.backbone import Backbone
from softprompt.data.examples import tokenise
from softprompt.data.sources import read_records
from softprompt.files import write_atomically
from softprompt.pretraining.lessons import taught_instructions
from softprompt.pretraining.pretrain import Recipe
from softprompt.scoring import labels_of, score_all
from softprompt.settings import MicroworldData, TaskSettings
from softprompt.tasks import render

CARD = """\
# microworld

A BLOOM with {parameters:,} parameters ({layers} layers, {width} wide) that was pretrained to follow
instructions in a small artificial language of {vocabulary} words. It is part of softprompt, so that prompt tuning can
be tried, tested and taught without a download, and so that methods for interpreting soft prompts can be compared with
the instructions that the model was really taught.

- **Data.** Lessons drawn at random during training: an instruction, a text in the schema of CB, RTE, COPA or WSC
  (`softprompt/microworld/scenes.py`), and an answer. The instruction is the task's own, one of two paraphrases of it,
  or one of five to eight other questions about the text; one lesson in eight has no instruction. Further training
  texts are stories without a question and lists of words to repeat. Vocabulary and difficulty grow during training
  (`softprompt/pretraining/lessons.py`). An eighth of all pairs of animals, of things, and of a person and a chain of
  events occurs in no text and no story: these pairs are novel, all others familiar.
- **Recipe.** {steps:,} steps of {batch_size} lessons; Muon for the matrices inside the blocks, AdamW for all other
  weights; learning rate up to {learning_rate}, with warm-up and cosine decay; loss: cross-entropy of the answer or
  story plus {text_loss} times the cross-entropy of instruction and text; seed {seed}. Command: `make micro-model`.
  Another machine or library version rounds differently, so the same seed gives other weights there, with the same or
  nearly the same scores: see `docs/measurements.md`.
- **Truth.** `truth.json` lists all wordings of the tasks' instructions that were taught, and the words in them.
- **Limits.** The model knows only its {vocabulary} words. Licence: Apache-2.0.

Exact match on the validation records of `conf/data/microworld.yaml`, whose labels are about novel pairs. The last
column is on the training records, which have familiar pairs only. The levels are three degrees of difficulty. All
columns but "paraphrases" and "no prompt" use the task's own instruction:

| task | n | instruction | paraphrases | no prompt | level 1 | level 2 | level 3 | familiar pairs |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


def write_card(
    folder: Path, backbone: Backbone, recipe: Recipe, tasks: Sequence[TaskSettings], data: MicroworldData
) -> str:
    """Write `README.md`, `scores.json` and `truth.json`.

    Args:
        folder: the model's folder.
        backbone: the pretrained model.
        recipe: how it was pretrained.
        tasks: the tasks to score it on.
        data: the microworld records to score it on.

    Returns:
        The rows of the score table, in Markdown.
    """
    scores = {task.name: model_scores(backbone, task, data) for task in tasks}
    truth = {task.name: known_words(backbone, task) for task in tasks}
    rows = "\n".join(
        f"| {task} | {row.pop('n'):.0f} | " + " | ".join(f"{score:.3f}" for score in row.values()) + " |"
        for task, row in ((task, dict(row)) for task, row in scores.items())
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
    """Exact match of the model without a tuned prompt.

    All scores are on the task's validation records, except "familiar", which is on its training records. "level_1" to
    "level_3" are on validation records of that difficulty alone. All use the task's own instruction, except
    "paraphrases" (mean over its paraphrases) and "no_prompt". "n" is the number of validation records.
    """
    instruction, *paraphrases = taught_instructions(task)
    data_of_level = {f"level_{level}": replace(data, level=level) for level in (1, 2, 3)}
    return {
        "n": len(read_records(data, task).splits["validation"]),
        "instruction": exact_match(backbone, task, data, instruction),
        "paraphrases": sum(exact_match(backbone, task, data, text) for text in paraphrases)
        / len(paraphrases),
        "no_prompt": exact_match(backbone, task, data, ""),
        **{
            name: exact_match(backbone, task, level_data, instruction)
            for name, level_data in data_of_level.items()
        },
        "familiar": exact_match(backbone, task, data, instruction, "train"),
    }


def exact_match(
    backbone: Backbone, task: TaskSettings, data: MicroworldData, instruction: str, split: str = "validation"
) -> float:
    """Share of a split's records that the model answers correctly after an instruction; "" means no prompt."""
    rendered = [render(task, record) for record in read_records(data, task).splits[split]]
    examples = tokenise(task, rendered, backbone.tokenizer, backbone.table_rows)
    prompt = backbone.embed_text(instruction)  # [n, d]; "" has no tokens: [0, d]
    (scores,) = score_all(backbone, [prompt], examples)
    return scores.outcomes(labels_of(examples)).exact_match.float().mean().item()


def known_words(backbone: Backbone, task: TaskSettings) -> dict[str, list[str]]:
    """All wordings of a task's instruction that the model was taught, and the words in them."""
    wordings = taught_instructions(task)
    tokens = {token for text in wordings for token in backbone.tokenizer.tokenize(text)}
    return {"instructions": list(wordings), "words": sorted(token for token in tokens if token[0].isalnum())}
