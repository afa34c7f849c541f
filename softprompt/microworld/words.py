"""The words of the microworld's language and the facts that its sentences rely on."""

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

# Each comparison with its converse: if A is bigger than B, then B is smaller than A.
COMPARISONS = (
    ("bigger", "smaller"),
    ("faster", "slower"),
    ("stronger", "weaker"),
    ("taller", "shorter"),
    ("heavier", "lighter"),
)

# Comparisons of which no text says what the converse is. A record with two of them is undecidable.
OPEN_COMPARISONS = ("louder", "quieter", "older", "younger", "wilder", "calmer")

# Adjectives that say how an animal or a thing looks or feels. They never decide a label.
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

# Each property with the things that have it. A thing has exactly one of these properties.
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

# Properties of which no text says which things have them. A record with one of them is undecidable.
OPEN_PROPERTIES = ("strange", "famous", "useful", "lovely", "cheap", "rare")

PLACES = ["garden", "kitchen", "attic", "market", "village", "harbour", "forest", "station"]

TIMES = ["morning", "evening", "summer", "winter", "afternoon", "spring"]

# Chains of three events that happen to one person; each event causes the next.
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

# Events of which no text says what they cause, or what caused them. A record with them is undecidable.
OPEN_EVENTS = (
    "wrote a letter",
    "visited an uncle",
    "painted the fence",
    "counted the stars",
    "played chess",
    "cleaned the attic",
    "fed the birds",
    "read a novel",
    "mended a shirt",
    "baked a pie",
    "called a friend",
    "watched the rain",
)

# Sentence patterns about two things. The pronoun "it" refers to the one that has the property.
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
    """The words and sentence patterns that the records are drawn from."""

    animals: tuple[str, ...] = tuple(ANIMALS)
    comparisons: tuple[tuple[str, str], ...] = COMPARISONS
    people: tuple[str, ...] = tuple(PEOPLE)
    chains: tuple[tuple[str, str, str], ...] = CHAINS
    properties: tuple[tuple[str, tuple[str, ...]], ...] = PROPERTIES
    frames: tuple[str, ...] = FRAMES

    def part(self, share: float) -> "World":
        """A smaller world: the first `share` (0 to 1) of each list, but at least as many entries as a record needs."""

        def first_part(entries: tuple[T, ...], minimum: int) -> tuple[T, ...]:
            return entries[: max(minimum, ceil(share * len(entries)))]

        return World(
            first_part(self.animals, 8),
            first_part(self.comparisons, 2),
            first_part(self.people, 4),
            first_part(self.chains, 3),
            first_part(self.properties, 3),
            first_part(self.frames, 1),
        )


WHOLE = World()
