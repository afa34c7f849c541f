"""Four kinds of records in SuperGLUE's own schemas, drawn from the microworld's grammar.

A scene is a record with all that can be asked about it. Every eighth combination of two inhabitants (two
animals, a person and a chain of events, two things) is *novel*: the model never met it in pretraining, and
validation and test are made of nothing else.
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
    """A record in the schema of a SuperGLUE file, the same as a plain story, and answers to other questions about it.

    `combinations` are the pairs of inhabitants that occur in it; the first is what the label is about.
    """

    fields: Mapping[str, Any]
    story: str
    facts: Mapping[str, str]
    combinations: tuple[tuple[str, str], ...]

    @property
    def familiar(self) -> bool:
        """No combination in it is novel: pretraining and prompt tuning may see it."""
        return not any(map(is_novel, self.combinations))

    @property
    def novel(self) -> bool:
        """The combination that the label is about was held out of pretraining."""
        return is_novel(self.combinations[0])


def is_novel(combination: tuple[str, str]) -> bool:
    """Whether a combination, in either order, is one of the eighth that is held out."""
    digest = hashlib.sha256(" ".join(sorted(combination)).encode()).digest()
    return digest[0] % 8 == 0


def draw(kind: str, level: int, novel: bool, random: random.Random, world: World = WHOLE) -> Scene:
    """A scene of one of the four tasks, familiar or novel, at a level of difficulty from 1 to 3."""
    while True:
        scene = SCENES[kind](world, level, random)
        if scene.novel if novel else scene.familiar:
            return scene


def _entailment(labels: Mapping[str, str]) -> Callable[[World, int, random.Random], Scene]:
    """A generator of inferences about a comparison of two animals; `labels` renames the three outcomes.

    At level 2 an animal may have a look, and the hypothesis may compare the other way round; at 3 a sentence about
    another animal stands beside the one that matters.
    """

    def inference(world: World, level: int, random: random.Random) -> Scene:
        first, second, other = random.sample(world.animals, 3)
        comparison, converse = random.choice([pair[:: random.choice((1, -1))] for pair in world.comparisons])
        foreign = [word for pair in world.comparisons for word in pair if word not in (comparison, converse)]
        premise = f"The {first} is {comparison} than the {second}."
        if level > 1 and random.random() < 0.5:
            premise = f"The {random.choice(LOOKS)} {premise[4:]}"
        if level > 2:
            premise = " ".join(random.sample([premise, f"The {other} is {random.choice(LOOKS)}."], 2))

        label = random.choice(list(dict.fromkeys(labels.values())))
        outcome = random.choice([outcome for outcome, name in labels.items() if name == label])
        subject, object = first, second
        relation = {"entailment": comparison, "contradiction": converse, "neutral": random.choice(foreign)}[
            outcome
        ]
        turned = level > 1 and random.random() < 0.5
        if turned:
            subject, object = second, first
            relation = next(pair[1 - pair.index(relation)] for pair in world.comparisons if relation in pair)
        animals = [word for word in premise.replace(".", "").split() if word in world.animals]
        return Scene(
            {
                "premise": premise,
                "hypothesis": f"The {subject} is {relation} than the {object}.",
                "label": label,
            },
            f"{premise} The {second} is {converse} than the {first}.",
            {
                "first animal of the premise": animals[0],
                "last animal of the premise": animals[-1],
                "comparison of the premise": comparison,
                "first animal of the hypothesis": subject,
                "last animal of the hypothesis": object,
                "comparison of the hypothesis": relation,
                "order": "turned" if turned else "same",
                "kind of comparison": {comparison: "same", converse: "opposite"}.get(relation, "other"),
            },
            ((first, second),) + (((other, first), (other, second)) if level > 2 else ()),
        )

    return inference


def _cause(world: World, level: int, random: random.Random) -> Scene:
    """Which of two events is the cause, or the effect, of a third.

    At level 1 the wrong choice comes from another chain of events; at 2 a time or a place is named as well;
    at 3 both choices belong to the premise's chain, and only the question tells them apart.
    """
    person = random.choice(world.people)
    chain, other_chain = random.sample(world.chains, 2)
    question = random.choice(("cause", "effect"))
    if level > 2:
        place, wrong = 1, chain[2 if question == "cause" else 0]
    else:
        place, wrong = random.choice((0, 1)) + (question == "cause"), random.choice(other_chain)
    right = chain[place - 1 if question == "cause" else place + 1]
    label = random.choice((0, 1))
    choices = [right, wrong] if label == 0 else [wrong, right]
    setting = f"In the {random.choice(TIMES)}" if random.random() < 0.5 else f"At the {random.choice(PLACES)}"
    premise = f"The {person} {chain[place]}."
    if level > 1:
        premise = f"{setting}, the {person} {chain[place]}."
    return Scene(
        {
            "premise": premise,
            "choice1": f"The {person} {choices[0]}.",
            "choice2": f"The {person} {choices[1]}.",
            "question": question,
            "label": label,
        },
        _told(person, chain, random.random() < 0.5),
        {
            "question": question,
            "person": person,
            "last word of the premise": chain[place].split()[-1],
            "last word of choice1": choices[0].split()[-1],
            "last word of choice2": choices[1].split()[-1],
            "last word of the right choice": right.split()[-1],
        },
        ((person, chain[0]), (person, other_chain[0])),
    )


def _told(person: str, chain: tuple[str, ...], backwards: bool) -> str:
    """A chain of events as a story, from either end."""
    first, *others = (f"he {person} {event}." for event in (reversed(chain) if backwards else chain))
    return f"T{first} " + " ".join(
        f"{'Before that, t' if backwards else 'Then t'}{other}" for other in others
    )


def _reference(world: World, level: int, random: random.Random) -> Scene:
    """Whether a pronoun means one of two things: the one that has the property that the sentence ends with.

    At level 2 both things have looks; at 3 a sentence about a third thing stands in front.
    """
    chosen = random.sample(world.properties, 3)
    first, second, third = (random.choice(things) for _, things in chosen)
    first_look, second_look, third_look = random.sample(LOOKS[:8], 3)
    referent = random.choice((first, second))
    word = chosen[0 if referent == first else 1][0]
    named = {"first": first, "second": second, "property": word}
    if level > 1:
        named |= {"first": f"{first_look} {first}", "second": f"{second_look} {second}"}
    text = random.choice(world.frames).format_map(named)
    if level > 2:
        text = f"The {third_look} {third} stood in the {random.choice(PLACES)}. {text}"
    label = random.choice((True, False))
    span = named["first" if (referent == first) == label else "second"].split()
    words = [place.strip(".").lower() for place in text.split()]
    start = words.index(span[0]) - 1  # with its article
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
        f"{text} What was {word}? The {referent}.",
        {
            "first thing": third if level > 2 else first,
            "thing before the pronoun": second,
            "last word": word,
            "span1": span[-1],
            "referent": referent,
        },
        ((first, second),) + (((third, first), (third, second)) if level > 2 else ()),
    )


# By the folder that SuperGLUE keeps a task in.
SCENES: Mapping[str, Callable[[World, int, random.Random], Scene]] = {
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
    """Train, validation and test of a task, no scene twice, the same for everyone who asks the same.

    Train is familiar; validation and test are novel. Levels take turns unless `level` names one.
    """
    source = random.Random(f"microworld {seed} {folder}")
    seen: set[str] = set()

    def scenes(count: int, novel: bool) -> list[Scene]:
        found: list[Scene] = []
        while len(found) < count:
            scene = draw(folder, level or LEVELS[len(found) % len(LEVELS)], novel, source)
            content = json.dumps(scene.fields)
            if content not in seen:
                seen.add(content)
                found.append(scene)
        return found

    return {
        "train": scenes(train, novel=False),
        "validation": scenes(validation, novel=True),
        "test": scenes(validation, novel=True),
    }
