"""Writes the scores of the microworld's model, its model card, and the truth about what it was taught."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from softprompt.backbone import Backbone
from softprompt.files import write_atomically
from softprompt.microworld.scenes import ceiling, draw_splits
from softprompt.pretraining.instructions import SHORTCUTS
from softprompt.pretraining.lessons import taught_instructions
from softprompt.pretraining.pretrain import Recipe
from softprompt.pretraining.truth import match_and_rank, truth, validation_examples
from softprompt.settings import MicroworldData, TaskSettings

CARD = """\
# microworld

A BLOOM with {parameters:,} parameters ({layers} layers, {width} wide) that was pretrained to follow
instructions in a small artificial language of {vocabulary} words. It is part of softprompt, so that prompt tuning can
be tried, tested and taught without a download, and so that methods for interpreting soft prompts can be compared with
the instructions that the model was really taught.

- **Data.** Lessons drawn at random during training: an instruction, a text in the schema of CB, RTE, COPA or WSC
  (`softprompt/microworld/scenes.py`), and an answer. The tasks' own instructions are held out: no lesson has them. Each
  task is taught in two other wordings. Further instructions ask for other facts of the text, or for a shortcut: the
  answer of a reader who overlooks a part of the record. Most words of the held-out instructions occur in shortcuts, to
  lead the model to the shortcut behind a task's own instruction; the columns "instruction" and "shortcut" show whether
  it takes it. One lesson in eight has no instruction. Further training texts are stories without
  a question and lists of words to repeat. Vocabulary and difficulty grow during training
  (`softprompt/pretraining/lessons.py`). An eighth of all pairs of animals, of things, and of a person and a chain of
  events occurs in no text and no story: these pairs are novel, all others familiar.
- **Ceilings.** A share of the records of RTE, COPA and WSC is undecidable: no text says what is needed to know the
  label. Each occurs twice, once with each label. So the best possible exact match on these tasks is below 100%.
- **Recipe.** {steps:,} steps of {batch_size} lessons; Muon for the matrices inside the blocks, AdamW for all other
  weights; learning rate up to {learning_rate}, with warm-up and cosine decay; loss: cross-entropy of the answer or
  story plus {text_loss} times the cross-entropy of instruction and text; seed {seed}. Command: `make micro-model`.
  Another machine or library version rounds differently, so the same seed gives other weights there, with similar
  scores: see `docs/measurements.md`.
- **Truth.** `truth.json` has for each task the taught wordings and their words, the ceiling, and the scores of every
  single word of the vocabulary alone in front of the text.
- **Limits.** The model knows only its {vocabulary} words. Licence: Apache-2.0.

Exact match in percent on the {validation} validation records of `conf/data/microworld.yaml`, whose labels are about novel pairs.
"Instruction" is the task's own, held-out wording, "taught" the mean over the taught wordings, which the columns to the
right use, too; "familiar" is on the training records, which have familiar pairs only. "Shortcut" is the score of a
reader who always takes the shortcut. Rank accuracy without a prompt is compared with the share of the most frequent answer:

| task | ceiling | instruction | shortcut | taught | level 1 | level 2 | level 3 | familiar | no prompt | rank accuracy, no prompt | most frequent answer |
|---|---|---|---|---|---|---|---|---|---|---|---|
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
    rows = "\n".join(
        f"| {task} | "
        + " | ".join("" if score is None else f"{100 * score:.1f}" for score in of_task.values())
        + " |"
        for task, of_task in scores.items()
    )
    config = backbone.model.config
    card = CARD.format(
        parameters=backbone.model.num_parameters(),
        layers=config.n_layer,
        width=backbone.width,
        vocabulary=config.vocab_size,
        validation=data.validation,
        rows=rows,
        **vars(recipe),
    )
    write_atomically(folder / "README.md", card)
    write_atomically(folder / "scores.json", json.dumps(scores, indent=2) + "\n")
    truths = {task.name: truth(backbone, task, data) for task in tasks}
    lines = ",\n".join(f"{json.dumps(task)}: {json.dumps(of_task)}" for task, of_task in truths.items())
    write_atomically(folder / "truth.json", f"{{\n{lines}\n}}\n")  # a line per task
    return rows


def model_scores(backbone: Backbone, task: TaskSettings, data: MicroworldData) -> dict[str, float | None]:
    """Scores of the model without a tuned prompt, as shares; the columns of the model card's table in their order."""
    wordings = taught_instructions(task)
    scenes = draw_splits(task.folder, data.seed, data.train, data.validation, data.level)["validation"]
    examples = validation_examples(backbone, task, data)
    own, none, *taught = match_and_rank(backbone, [task.instruction, "", *wordings], examples)
    labels = [example.label for example in examples]

    def taught_on(data: MicroworldData, split: str = "validation") -> float:
        scores = match_and_rank(backbone, wordings, validation_examples(backbone, task, data, split))
        return sum(score["exact_match"] for score in scores) / len(scores)

    return {
        "ceiling": ceiling(scenes),
        "instruction": own["exact_match"],
        "shortcut": sum(scene.shortcut == scene.fields["label"] for scene in scenes) / len(scenes)
        if task.folder in SHORTCUTS
        else None,
        "taught": sum(score["exact_match"] for score in taught) / len(taught),
        **{f"level_{level}": taught_on(replace(data, level=level)) for level in (1, 2, 3)},
        "familiar": taught_on(data, "train"),
        "no_prompt": none["exact_match"],
        "no_prompt_rank_accuracy": none["rank_accuracy"],
        "most_frequent": max(map(labels.count, labels)) / len(labels),
    }
