"""Draws scenes in the schema of WSC: does the pronoun refer to the named one of two things?"""

import random

from softprompt.microworld.scene import Scene
from softprompt.microworld.words import LOOKS, OPEN_PROPERTIES, PLACES, World

COLOURS = LOOKS[:8]

# How often the pronoun refers to the thing right before it, where the label can be decided. With equal shares the shortcut
# would be right half of the time, and tuning from it rarely finds the task (docs/measurements.md).
LAST_SHARE = 0.7


def reference(world: World, level: int, decidable: bool, rng: random.Random) -> Scene:
    """Draw a WSC scene.

    The pronoun refers to the thing that has the property at the end of the sentence. At level 2 both things have colours.
    Level 3 puts a sentence about a third thing in front. The shortcut overlooks the property: it takes the pronoun for
    the thing right before it. In an undecidable scene, no text says which things have the property.
    """
    properties = rng.sample(world.properties, 3)
    first, second, third = (rng.choice(things) for _, things in properties)
    first_colour, second_colour, third_colour = rng.sample(COLOURS, 3)
    referent = second if rng.random() < LAST_SHARE else first
    property_word = properties[0 if referent == first else 1][0]
    if not decidable:
        property_word = rng.choice(OPEN_PROPERTIES)
    slots = {"first": first, "second": second, "property": property_word}
    if level > 1:
        slots |= {"first": f"{first_colour} {first}", "second": f"{second_colour} {second}"}
    text = rng.choice(world.frames).format_map(slots)
    if level > 2:
        text = f"The {third_colour} {third} stood in the {rng.choice(PLACES)}. {text}"
    label = rng.choice((True, False))
    span_is_first = (referent == first) == label
    span = slots["first" if span_is_first else "second"].split()
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
        f"{text} What was {property_word}? The {referent}." if decidable else text,
        {
            "first thing": third if level > 2 else first,
            "thing before the pronoun": second,
            "last word": property_word,
            "span1": span[-1],
            "position": "first" if span_is_first else "last",
            "colour": "yes" if level > 1 else "no",
        }
        | ({"referent": referent} if decidable else {}),
        not span_is_first,
        ((first, second),) + (((third, first), (third, second)) if level > 2 else ()),
        decidable,
    )
