"""Draws scenes in the schema of CB and RTE: a premise compares two animals, and so does a hypothesis."""

import random
from collections.abc import Mapping

from softprompt.microworld.scene import Scene, SceneGenerator
from softprompt.microworld.words import LOOKS, OPEN_COMPARISONS, World

# How often a hypothesis of level 2 or 3 names the animals in the opposite order.
TURNED_SHARE = 0.6


def inference(label_of: Mapping[str, str]) -> SceneGenerator:
    """A generator of CB or RTE scenes.

    Level 2 may add a look to the premise's first animal and may turn the hypothesis: it swaps the two animals and takes
    the converse comparison, so that the meaning stays. Level 3 adds a sentence about another animal to the premise. The
    shortcut overlooks the order of the animals. In an undecidable scene, two comparisons that no text relates to each
    other are about the animals.

    Args:
        label_of: the task's label for each of entailment, contradiction and neutral.
    """
    labels = list(dict.fromkeys(label_of.values()))

    def draw_inference(world: World, level: int, decidable: bool, rng: random.Random) -> Scene:
        first, second, other = rng.sample(world.animals, 3)
        label = rng.choice(labels)
        turned = level > 1 and rng.random() < TURNED_SHARE
        if decidable:
            comparison, converse = rng.choice([pair[:: rng.choice((1, -1))] for pair in world.comparisons])
            relation = rng.choice([relation for relation in label_of if label_of[relation] == label])
            hypothesis_comparison = {
                "entailment": comparison,
                "contradiction": converse,
                "neutral": rng.choice(
                    [word for pair in world.comparisons for word in pair if comparison not in pair]
                ),
            }[relation]
            if turned:
                hypothesis_comparison = _converse(world, hypothesis_comparison)
        else:
            comparison, hypothesis_comparison = rng.sample(OPEN_COMPARISONS, 2)
            converse = ""
        kind = {comparison: "same", converse: "opposite"}.get(hypothesis_comparison, "other")
        relation_without_order = {"same": "entailment", "opposite": "contradiction", "other": "neutral"}[kind]

        described = level > 1 and rng.random() < 0.5
        premise = (
            f"The {f'{rng.choice(LOOKS)} ' if described else ''}{first} is {comparison} than the {second}."
        )
        story = f"{premise} The {second} is {converse} than the {first}." if decidable else premise
        if level > 2:
            premise = " ".join(rng.sample([premise, f"The {other} is {rng.choice(LOOKS)}."], 2))
        animals = [word for word in premise.replace(".", "").split() if word in world.animals]
        left, right = (second, first) if turned else (first, second)
        return Scene(
            {
                "premise": premise,
                "hypothesis": f"The {left} is {hypothesis_comparison} than the {right}.",
                "label": label,
            },
            story,
            {
                "first animal of the premise": animals[0],
                "last animal of the premise": animals[-1],
                "comparison of the premise": comparison,
                "first animal of the hypothesis": left,
                "last animal of the hypothesis": right,
                "comparison of the hypothesis": hypothesis_comparison,
                "order": "turned" if turned else "same",
                "kind of comparison": kind,
                "look": "yes" if described or level > 2 else "no",
            },
            label_of[relation_without_order],
            ((first, second),) + (((other, first), (other, second)) if level > 2 else ()),
            decidable,
        )

    return draw_inference


def _converse(world: World, comparison: str) -> str:
    return next(pair[1 - pair.index(comparison)] for pair in world.comparisons if comparison in pair)
