"""Draws scenes in the schema of COPA: which of two events is the cause, or the effect, of the premise's event?"""

import random

from softprompt.microworld.scene import Scene
from softprompt.microworld.words import OPEN_EVENTS, PLACES, TIMES, World


def cause(world: World, level: int, decidable: bool, rng: random.Random) -> Scene:
    """Draw a COPA scene.

    At level 1 the wrong choice comes from another chain of events. At levels 2 and 3 both choices come from the
    premise's chain, so the right one depends on the question (cause or effect). Level 2 may add a time or a place to
    the premise, and level 3 always does. The shortcut overlooks the question: it is the choice from the premise's chain,
    and the later one of two. In an undecidable scene the events come from no chain, and the shortcut is the label that was
    drawn.
    """
    person = rng.choice(world.people)
    question = rng.choice(("cause", "effect"))
    label = rng.choice((0, 1))
    chain, other_chain = rng.sample(world.chains, 2)
    in_chain = level > 1
    if not decidable:
        premise_event, right, wrong = rng.sample(OPEN_EVENTS, 3)
        chain, later = (premise_event, right, wrong), right
    elif in_chain:
        premise_event = chain[1]
        right, wrong = (chain[0], chain[2]) if question == "cause" else (chain[2], chain[0])
        later = chain[2]
    else:
        position = rng.choice((0, 1)) + (question == "cause")
        premise_event, wrong = chain[position], rng.choice(other_chain)
        right = later = chain[position - 1 if question == "cause" else position + 1]
    choices = [right, wrong] if label == 0 else [wrong, right]

    premise, setting = f"The {person} {premise_event}.", "neither"
    if level > 2 or (level > 1 and rng.random() < 0.5):
        setting = rng.choice(("time", "place"))
        where = f"In the {rng.choice(TIMES)}" if setting == "time" else f"At the {rng.choice(PLACES)}"
        premise = f"{where}, the {person} {premise_event}."
    return Scene(
        {
            "premise": premise,
            "choice1": f"The {person} {choices[0]}.",
            "choice2": f"The {person} {choices[1]}.",
            "question": question,
            "label": label,
        },
        _chain_story(person, chain, rng.random() < 0.5) if decidable else premise,
        {
            "question": question,
            "person": person,
            "last word of the premise": premise_event.split()[-1],
            "last word of choice1": choices[0].split()[-1],
            "last word of choice2": choices[1].split()[-1],
            "setting": setting,
            "one story": "yes" if decidable and in_chain else "no",
        }
        | ({"last word of the right choice": right.split()[-1]} if decidable else {}),
        choices.index(later),
        ((person, chain[0]),) + (() if in_chain or not decidable else ((person, other_chain[0]),)),
        decidable,
    )


def _chain_story(person: str, chain: tuple[str, ...], backwards: bool) -> str:
    """A chain of events as sentences, from the first event to the last, or backwards."""
    first, *others = (f"he {person} {event}." for event in (reversed(chain) if backwards else chain))
    return f"T{first} " + " ".join(
        f"{'Before that, t' if backwards else 'Then t'}{other}" for other in others
    )
