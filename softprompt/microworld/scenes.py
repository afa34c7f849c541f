"""Draws records of the microworld in the schemas of four SuperGLUE tasks (CB, RTE, COPA, WSC).

Every scene is about a pair: two animals, two things, or a person and a chain of events. By a hash, about one in eight
pairs is *novel*: the model is not pretrained on records or stories with it. All other pairs are *familiar*. The label of
every validation and test record is about a novel pair; training records contain familiar pairs only.

In each split a fixed share of the records is *undecidable*: no text says what is needed to know the label. Each of them
occurs twice, once with each label, so the best possible accuracy on them is exactly one half.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from softprompt.microworld.cause import cause
from softprompt.microworld.inference import inference
from softprompt.microworld.reference import reference
from softprompt.microworld.scene import Scene, SceneGenerator
from softprompt.microworld.words import WHOLE, World

LEVELS = (1, 2, 3)

_cb = inference({name: name for name in ("entailment", "contradiction", "neutral")})
_rte = inference({"entailment": "entailment", "contradiction": "not_entailment", "neutral": "not_entailment"})

# The generator of scenes by folder. The first four are SuperGLUE's folders. The others have the same schemas as CB, COPA
# and WSC, for tasks of the microworld (`conf/task/microworld`) that ask for other facts.
SCENES: Mapping[str, SceneGenerator] = {
    "CB": _cb,
    "RTE": _rte,
    "COPA": cause,
    "WSC": reference,
    "Animals": _cb,
    "Events": cause,
    "Things": reference,
}

# The share of undecidable records by folder, and their two labels.
UNDECIDABLE: Mapping[str, tuple[float, Sequence[str | int | bool]]] = {
    "RTE": (0.1, ("entailment", "not_entailment")),
    "COPA": (0.6, (0, 1)),
    "WSC": (0.3, (True, False)),
}


def draw(
    folder: str, level: int, novel: bool, rng: random.Random, world: World = WHOLE, decidable: bool = True
) -> Scene:
    """Draw a random scene.

    Args:
        folder: a key of `SCENES`.
        level: difficulty, 1 to 3.
        novel: True for a scene whose label is about a novel pair; False for one with familiar pairs only.
        rng: source of all random choices.
        world: the words to draw from.
        decidable: False for a scene whose label cannot be known; only of a folder in `UNDECIDABLE`.
    """
    while True:
        scene = SCENES[folder](world, level, decidable, rng)
        if scene.novel if novel else scene.familiar:
            return scene


def draw_splits(
    folder: str, seed: int, train: int, validation: int, level: int | None = None
) -> dict[str, list[Scene]]:
    """Draw the train, validation and test splits of a task. The same arguments give the same scenes.

    No scene occurs twice, but the undecidable ones do, with different labels.

    Args:
        folder: a key of `SCENES`.
        seed: determines all random choices.
        train: number of training scenes, with familiar pairs only.
        validation: number of validation scenes, and of test scenes; the label of each is about a novel pair.
        level: difficulty of all scenes, 1 to 3; None alternates between the three.
    """
    rng = random.Random(f"microworld {seed} {folder}")
    share, labels = UNDECIDABLE.get(folder, (0.0, ()))
    drawn: set[str] = set()

    def distinct_scenes(count: int, novel: bool, decidable: bool) -> list[Scene]:
        scenes: list[Scene] = []
        while len(scenes) < count:
            scene_level = level or LEVELS[len(scenes) % len(LEVELS)]
            scene = draw(folder, scene_level, novel, rng, decidable=decidable)
            content = text_of(scene)
            if content not in drawn:
                drawn.add(content)
                scenes.append(scene)
        return scenes

    def split(count: int, novel: bool) -> list[Scene]:
        pairs = round(share * count / 2)
        scenes = distinct_scenes(count - 2 * pairs, novel, decidable=True)
        for scene in distinct_scenes(pairs, novel, decidable=False):
            scenes += [replace(scene, fields={**scene.fields, "label": label}) for label in labels]
        rng.shuffle(scenes)
        return scenes

    return {
        "train": split(train, False),
        "validation": split(validation, True),
        "test": split(validation, True),
    }


def text_of(scene: Scene) -> str:
    """All that a reader of the record knows: its fields without the label."""
    return json.dumps({name: value for name, value in scene.fields.items() if name != "label"})


def ceiling(scenes: Iterable[Scene]) -> float:
    """The best possible share of right labels, of a reader who knows everything but cannot tell equal texts apart."""
    counts: dict[str, Counter[str]] = {}
    for scene in scenes:
        counts.setdefault(text_of(scene), Counter())[str(scene.fields["label"])] += 1
    return sum(max(labels.values()) for labels in counts.values()) / sum(
        labels.total() for labels in counts.values()
    )
