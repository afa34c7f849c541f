"""What is known about the microworld's model: the wordings of each task, and what every word does on its own."""

from collections.abc import Sequence

import torch

from softprompt.backbone import Backbone
from softprompt.data.examples import Example, tokenise
from softprompt.data.sources import read_records
from softprompt.microworld.scenes import ceiling, draw_splits
from softprompt.pretraining.language import vocabulary_words
from softprompt.pretraining.lessons import taught_instructions
from softprompt.scoring import labels_of, score_all
from softprompt.settings import MicroworldData, TaskSettings
from softprompt.tasks import render

# On how many validation records each word of the vocabulary is scored.
WORD_EXAMPLES = 60


def truth(backbone: Backbone, task: TaskSettings, data: MicroworldData) -> dict[str, object]:
    """The truth about a task, as JSON values.

    Returns:
        instructions: the wordings of the task that the model was taught (not the task's own instruction).
        words: the words in them.
        ceiling: the best possible exact match on the validation records, a share.
        functional_words: by word of the vocabulary, exact match and rank accuracy (shares) with this word alone in front
            of the text.
        functional_no_prompt: the same with nothing in front of the text.
    """
    wordings = taught_instructions(task)
    tokens = {token for text in wordings for token in backbone.tokenizer.tokenize(text)}
    examples = validation_examples(backbone, task, data)[:WORD_EXAMPLES]
    words = vocabulary_words(backbone.tokenizer)
    without, *alone = match_and_rank(backbone, ["", *words], examples)
    return {
        "instructions": list(wordings),
        "words": sorted(token for token in tokens if token[0].isalnum()),
        "ceiling": ceiling(
            draw_splits(task.folder, data.seed, data.train, data.validation, data.level)["validation"]
        ),
        "functional_words": dict(zip(words, alone, strict=True)),
        "functional_no_prompt": without,
    }


def validation_examples(
    backbone: Backbone, task: TaskSettings, data: MicroworldData, split: str = "validation"
) -> list[Example]:
    """The examples of a split."""
    rendered = [render(task, record) for record in read_records(data, task).splits[split]]
    return tokenise(task, rendered, backbone.tokenizer, backbone.table_rows)


def match_and_rank(
    backbone: Backbone, texts: Sequence[str], examples: Sequence[Example]
) -> list[dict[str, float]]:
    """For each text in front of the examples, the exact match and the rank accuracy, rounded to four digits."""
    labels = labels_of(examples)
    prompts = [backbone.embed_text(text) for text in texts]  # "" has no tokens: [0, d]
    outcomes = [answers.outcomes(labels) for answers in score_all(backbone, prompts, examples)]
    return [
        {
            "exact_match": _share(of_text.exact_match),
            "rank_accuracy": _share(of_text.rank_correct),
        }
        for of_text in outcomes
    ]


def _share(outcomes: torch.Tensor) -> float:
    return round(outcomes.double().mean().item(), 4)
