"""The words of the microworld, and what its inhabitants know."""

from dataclasses import dataclass
from math import ceil
from typing import TypeVar

T = TypeVar("T")

ANIMALS = [
    "dog",
    "cat",
    "horse",
    "mouse",
    "fox",
    "bear",
    "wolf",
    "cow",
    "pig",
    "goat",
    "sheep",
    "duck",
    "hen",
    "frog",
    "lion",
    "tiger",
    "rabbit",
    "donkey",
    "camel",
    "goose",
    "swan",
    "crow",
    "owl",
    "eagle",
    "snake",
    "turtle",
    "monkey",
    "deer",
    "otter",
    "badger",
    "lizard",
    "hamster",
]

# Each comparison with its converse: what the first is than the second, the second is the other than the first.
COMPARISONS = (
    ("bigger", "smaller"),
    ("faster", "slower"),
    ("stronger", "weaker"),
    ("taller", "shorter"),
    ("heavier", "lighter"),
)

LOOKS = [
    "red",
    "blue",
    "green",
    "brown",
    "black",
    "white",
    "grey",
    "golden",
    "striped",
    "spotted",
    "hungry",
    "sleepy",
    "happy",
    "sad",
    "tired",
    "angry",
]

PEOPLE = [
    "baker",
    "farmer",
    "nurse",
    "teacher",
    "singer",
    "painter",
    "sailor",
    "doctor",
    "pilot",
    "miner",
    "poet",
    "guard",
]

# What everyone knows about things: each has one of these properties, and not the others.
PROPERTIES = (
    ("round", ("ball", "drum", "coin")),
    ("sharp", ("knife", "needle", "saw")),
    ("soft", ("pillow", "blanket", "scarf")),
    ("hot", ("kettle", "lamp", "candle")),
    ("fragile", ("vase", "mirror", "bottle")),
    ("wet", ("sponge", "towel", "mop")),
    ("heavy", ("anvil", "trunk", "piano")),
    ("sweet", ("cake", "honey", "melon")),
)
THINGS = [thing for _, things in PROPERTIES for thing in things]

PLACES = ["garden", "kitchen", "attic", "market", "village", "harbour", "forest", "station"]

TIMES = ["morning", "evening", "summer", "winter", "afternoon", "spring"]

# Three events of one person, each the cause of the next.
CHAINS = (
    ("studied every night", "passed the exam", "got a diploma"),
    ("forgot the umbrella", "got wet", "caught a cold"),
    ("lost the key", "could not open the door", "climbed through the window"),
    ("skipped breakfast", "was starving at noon", "ate three plates of soup"),
    ("told a joke", "made the crowd laugh", "heard loud applause"),
    ("ran ten miles", "had sore legs", "took a hot bath"),
    ("dropped the glass", "had to sweep the floor", "threw away the splinters"),
    ("overslept", "missed the train", "arrived late at work"),
    ("planted seeds", "grew tomatoes", "sold vegetables"),
    ("saved money for years", "bought a boat", "sailed around the island"),
    ("left the oven on", "burned the bread", "opened all windows because of smoke"),
    ("practised the violin", "won the contest", "received a medal"),
    ("drank too much coffee", "lay awake till dawn", "yawned during the meeting"),
    ("slipped on ice", "broke an arm", "wore a cast"),
)

# Sentences about two things, of which the pronoun means the one that has the property.
FRAMES = (
    "The {first} fell off the {second} because it was so {property}.",
    "The {first} was kept away from the {second} because it was {property}.",
    "The {first} was packed under the {second} although it was too {property}.",
    "The {first} lay beside the {second} since it was rather {property}.",
    "The {first} was sold before the {second} because it was very {property}.",
    "The {first} stayed behind the {second} until it was {property}.",
)


@dataclass(frozen=True)
class World:
    """Everything that can occur in a scene."""

    animals: tuple[str, ...] = tuple(ANIMALS)
    comparisons: tuple[tuple[str, str], ...] = COMPARISONS
    people: tuple[str, ...] = tuple(PEOPLE)
    chains: tuple[tuple[str, str, str], ...] = CHAINS
    properties: tuple[tuple[str, tuple[str, ...]], ...] = PROPERTIES
    frames: tuple[str, ...] = FRAMES

    def part(self, share: float) -> "World":
        """The first so many of everything: a smaller world, with at least what a scene needs."""

        def cut(everything: tuple[T, ...], least: int) -> tuple[T, ...]:
            return everything[: max(least, ceil(share * len(everything)))]

        return World(
            cut(self.animals, 8),
            cut(self.comparisons, 2),
            cut(self.people, 4),
            cut(self.chains, 3),
            cut(self.properties, 3),
            cut(self.frames, 1),
        )


WHOLE = World()
