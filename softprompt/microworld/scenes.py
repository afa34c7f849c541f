"""Draws records of the microworld in the schemas of four SuperGLUE tasks (CB, RTE, COPA, WSC).

A *scene* is a record together with other facts about it that a model can be asked for. Every scene is about a pair: two
animals, two things, or a person and a chain of events. By a hash, about one in eight pairs is *novel*: the model is
not pretrained on records or stories with it. All other pairs are *familiar*. The label of every validation and test
record is about a novel pair; training records contain familiar pairs only.
"""

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from softprompt.microworld.words import LOOKS, PLACES, TIMES, WHOLE, World

LEVELS = (1, 2, 3)


@dataclass(frozen=True)
class Scene:
    """A record with other facts about it.

    Attributes:
        fields: the record, in the schema of the task's SuperGLUE file.
        story: the record's text, or its chain of events, and what follows from it, as plain sentences. Used in
            pretraining without a question.
        facts: answers to other questions about the record, by the question's name. The names are the keys of
            `QUESTIONS` in `softprompt/pretraining/instructions.py`.
        combinations: the pairs in the record. The first is the pair that the label is about.
    """

    fields: Mapping[str, Any]
    story: str
    facts: Mapping[str, str]
    combinations: tuple[tuple[str, str], ...]

    @property
    def familiar(self) -> bool:
        """True if no pair in the record is novel: pretraining and prompt tuning use only such scenes."""
        return not any(map(is_novel, self.combinations))

    @property
    def novel(self) -> bool:
        """True if the pair that the label is about is novel."""
        return is_novel(self.combinations[0])


SceneGenerator = Callable[[World, int, random.Random], Scene]  # (world, level, rng) -> scene


def is_novel(combination: tuple[str, str]) -> bool:
    """True for the eighth of all pairs that pretraining leaves out. The order of the pair makes no difference."""
    digest = hashlib.sha256(" ".join(sorted(combination)).encode()).digest()
    return digest[0] % 8 == 0


def draw(folder: str, level: int, novel: bool, rng: random.Random, world: World = WHOLE) -> Scene:
    """Draw a random scene.

    Args:
        folder: the task, by its SuperGLUE folder: CB, RTE, COPA or WSC.
        level: difficulty, 1 to 3.
        novel: True for a scene whose label is about a novel pair; False for one with familiar pairs only.
        rng: source of all random choices.
        world: the words to draw from.
    """
    while True:
        scene = SCENES[folder](world, level, rng)
        if scene.novel if novel else scene.familiar:
            return scene


def _entailment(label_of: Mapping[str, str]) -> SceneGenerator:
    """A generator of CB and RTE scenes: the premise compares two animals, and so does the hypothesis.

    Level 2 may add a look to the premise's first animal and may swap the two animals in the hypothesis (with the
    converse comparison, so that the meaning stays). Level 3 adds a sentence about another animal to the premise.

    Args:
        label_of: the task's label for each of entailment, contradiction and neutral.
    """

    def inference(world: World, level: int, rng: random.Random) -> Scene:
        first, second, other = rng.sample(world.animals, 3)
        comparison, converse = rng.choice([pair[:: rng.choice((1, -1))] for pair in world.comparisons])
        unrelated = [
            word for pair in world.comparisons for word in pair if word not in (comparison, converse)
        ]
        premise = f"The {first} is {comparison} than the {second}."
        if level > 1 and rng.random() < 0.5:
            premise = f"The {rng.choice(LOOKS)} {premise[4:]}"
        if level > 2:
            premise = " ".join(rng.sample([premise, f"The {other} is {rng.choice(LOOKS)}."], 2))

        label = rng.choice(list(dict.fromkeys(label_of.values())))
        relation = rng.choice([relation for relation in label_of if label_of[relation] == label])
        left, right = first, second
        hypothesis_comparison = {
            "entailment": comparison,
            "contradiction": converse,
            "neutral": rng.choice(unrelated),
        }[relation]
        turned = level > 1 and rng.random() < 0.5
        if turned:
            left, right = second, first
            hypothesis_comparison = next(
                pair[1 - pair.index(hypothesis_comparison)]
                for pair in world.comparisons
                if hypothesis_comparison in pair
            )
        animals = [word for word in premise.replace(".", "").split() if word in world.animals]
        return Scene(
            {
                "premise": premise,
                "hypothesis": f"The {left} is {hypothesis_comparison} than the {right}.",
                "label": label,
            },
            f"{premise} The {second} is {converse} than the {first}.",
            {
                "first animal of the premise": animals[0],
                "last animal of the premise": animals[-1],
                "comparison of the premise": comparison,
                "first animal of the hypothesis": left,
                "last animal of the hypothesis": right,
                "comparison of the hypothesis": hypothesis_comparison,
                "order": "turned" if turned else "same",
                "kind of comparison": {comparison: "same", converse: "opposite"}.get(
                    hypothesis_comparison, "other"
                ),
            },
            ((first, second),) + (((other, first), (other, second)) if level > 2 else ()),
        )

    return inference


def _cause(world: World, level: int, rng: random.Random) -> Scene:
    """A COPA scene: which of two events is the cause, or the effect, of the premise's event.

    At level 1 the wrong choice comes from another chain of events. Level 2 adds a time or a place to the premise. At
    level 3 both choices come from the premise's chain, so the right one depends on the question (cause or effect).
    """
    person = rng.choice(world.people)
    chain, other_chain = rng.sample(world.chains, 2)
    question = rng.choice(("cause", "effect"))
    if level > 2:
        position, wrong = 1, chain[2 if question == "cause" else 0]
    else:
        position, wrong = rng.choice((0, 1)) + (question == "cause"), rng.choice(other_chain)
    right = chain[position - 1 if question == "cause" else position + 1]
    label = rng.choice((0, 1))
    choices = [right, wrong] if label == 0 else [wrong, right]
    setting = f"In the {rng.choice(TIMES)}" if rng.random() < 0.5 else f"At the {rng.choice(PLACES)}"
    premise = f"The {person} {chain[position]}."
    if level > 1:
        premise = f"{setting}, the {person} {chain[position]}."
    return Scene(
        {
            "premise": premise,
            "choice1": f"The {person} {choices[0]}.",
            "choice2": f"The {person} {choices[1]}.",
            "question": question,
            "label": label,
        },
        _chain_story(person, chain, rng.random() < 0.5),
        {
            "question": question,
            "person": person,
            "last word of the premise": chain[position].split()[-1],
            "last word of choice1": choices[0].split()[-1],
            "last word of choice2": choices[1].split()[-1],
            "last word of the right choice": right.split()[-1],
        },
        ((person, chain[0]), (person, other_chain[0])),
    )


def _chain_story(person: str, chain: tuple[str, ...], backwards: bool) -> str:
    """A chain of events as sentences, from the first event to the last, or backwards."""
    first, *others = (f"he {person} {event}." for event in (reversed(chain) if backwards else chain))
    return f"T{first} " + " ".join(
        f"{'Before that, t' if backwards else 'Then t'}{other}" for other in others
    )


def _reference(world: World, level: int, rng: random.Random) -> Scene:
    """A WSC scene: does the pronoun refer to the named one of two things?

    It refers to the thing that has the property at the end of the sentence. At level 2 both things have looks. Level 3
    puts a sentence about a third thing in front.
    """
    properties = rng.sample(world.properties, 3)
    first, second, third = (rng.choice(things) for _, things in properties)
    first_look, second_look, third_look = rng.sample(LOOKS[:8], 3)
    referent = rng.choice((first, second))
    property_word = properties[0 if referent == first else 1][0]
    slots = {"first": first, "second": second, "property": property_word}
    if level > 1:
        slots |= {"first": f"{first_look} {first}", "second": f"{second_look} {second}"}
    text = rng.choice(world.frames).format_map(slots)
    if level > 2:
        text = f"The {third_look} {third} stood in the {rng.choice(PLACES)}. {text}"
    label = rng.choice((True, False))
    span = slots["first" if (referent == first) == label else "second"].split()
    words = [word.strip(".").lower() for word in text.split()]
    start = words.index(span[0]) - 1  # the article in front belongs to the span
    return Scene(
        {
            "text": text,
            "target": {
                "span1_text": " ".join(text.split()[start : start + 1 + len(span)]),
                "span1_index": start,
                "span2_text": "it",
                "span2_index": words.index("it"),
            },
            "label": label,
        },
        f"{text} What was {property_word}? The {referent}.",
        {
            "first thing": third if level > 2 else first,
            "thing before the pronoun": second,
            "last word": property_word,
            "span1": span[-1],
            "referent": referent,
        },
        ((first, second),) + (((third, first), (third, second)) if level > 2 else ()),
    )


# The generator of each task's scenes, by the task's SuperGLUE folder.
SCENES: Mapping[str, SceneGenerator] = {
    "CB": _entailment({name: name for name in ("entailment", "contradiction", "neutral")}),
    "RTE": _entailment(
        {"entailment": "entailment", "contradiction": "not_entailment", "neutral": "not_entailment"}
    ),
    "COPA": _cause,
    "WSC": _reference,
}


def draw_splits(
    folder: str, seed: int, train: int, validation: int, level: int | None = None
) -> dict[str, list[Scene]]:
    """Draw the train, validation and test splits of a task. The same arguments give the same scenes; none occurs twice.

    Args:
        folder: the task, by its SuperGLUE folder: CB, RTE, COPA or WSC.
        seed: determines all random choices.
        train: number of training scenes, with familiar pairs only.
        validation: number of validation scenes, and of test scenes; the label of each is about a novel pair.
        level: difficulty of all scenes, 1 to 3; None alternates between the three.
    """
    rng = random.Random(f"microworld {seed} {folder}")
    drawn: set[str] = set()

    def distinct_scenes(count: int, novel: bool) -> list[Scene]:
        scenes: list[Scene] = []
        while len(scenes) < count:
            scene = draw(folder, level or LEVELS[len(scenes) % len(LEVELS)], novel, rng)
            content = json.dumps(scene.fields)
            if content not in drawn:
                drawn.add(content)
                scenes.append(scene)
        return scenes

    return {
        "train": distinct_scenes(train, novel=False),
        "validation": distinct_scenes(validation, novel=True),
        "test": distinct_scenes(validation, novel=True),
    }
