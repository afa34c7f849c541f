"""The microworld's records: reproducible, rightly labelled (by a reader of sentences), and never in two splits."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.microworld import words
from softprompt.microworld.scenes import LEVELS, SCENES, Scene, draw, draw_splits, is_novel

SIZES = {"seed": 0, "train": 120, "validation": 90}
KINDS = list(SCENES)


def compare(sentence: str) -> tuple[str, str, str] | None:
    found = re.fullmatch(r"The (?:\w+ )??(\w+) is (\w+) than the (\w+)\.", sentence)
    return (found.group(1), found.group(2), found.group(3)) if found else None


def solve_inference(fields: dict) -> str:
    """What follows from the premise's sentences, each read in both directions."""
    opposites = {a: b for pair in words.COMPARISONS for a, b in (pair, pair[::-1])}
    known = set()
    for sentence in re.findall(r"[^.]+\.", fields["premise"]):
        if (read := compare(sentence.strip())) is None:  # a remark about another animal
            continue
        subject, relation, thing = read
        known |= {(subject, relation, thing), (thing, opposites[relation], subject)}
    hypothesis = compare(fields["hypothesis"])
    assert hypothesis and known
    subject, relation, thing = hypothesis
    if (subject, relation, thing) in known:
        return "entailment"
    return "contradiction" if (subject, opposites[relation], thing) in known else "neutral"


def solve_cause(fields: dict) -> int:
    """The choice that stands next to the premise in a chain, on the side that the question asks for."""

    def events(text: str) -> list[tuple[int, int]]:
        return [
            (i, j)
            for i, chain in enumerate(words.CHAINS)
            for j, event in enumerate(chain)
            if f" {event}." in text
        ]

    ((chain, place),) = events(fields["premise"])
    wanted = (chain, place + (1 if fields["question"] == "effect" else -1))
    right = [i for i in (0, 1) if wanted in events(fields[f"choice{i + 1}"])]
    (answer,) = right
    return answer


def solve_reference(fields: dict) -> bool:
    """Whether span 1 has the property that the sentence about `it` ends with, and the other thing has not."""
    having = dict(words.PROPERTIES)
    said = re.findall(r"\w+", fields["text"].lower())
    things = [word for word in said[: said.index("it")] if word in words.THINGS][-2:]
    able = [thing for thing in things if thing in having[said[-1]]]
    assert len(things) == 2 and len(able) == 1
    return fields["target"]["span1_text"].lower().endswith(f" {able[0]}")


def solve(kind: str, scene: Scene) -> object:
    match kind:
        case "CB":
            return solve_inference(dict(scene.fields))
        case "RTE":
            return {"entailment": "entailment"}.get(solve_inference(dict(scene.fields)), "not_entailment")
        case "COPA":
            return solve_cause(dict(scene.fields))
        case _:
            return solve_reference(dict(scene.fields))


@given(st.sampled_from(KINDS), st.sampled_from(LEVELS), st.booleans(), st.integers(0, 2**32))
def test_a_reader_of_the_sentences_finds_the_label(kind: str, level: int, novel: bool, seed: int) -> None:
    scene = draw(kind, level, novel, random.Random(seed))
    assert solve(kind, scene) == scene.fields["label"]
    assert is_novel(scene.combinations[0]) == novel


@given(st.sampled_from(KINDS), st.sampled_from(LEVELS), st.integers(0, 2**32))
def test_a_scene_is_the_same_from_the_same_seed(kind: str, level: int, seed: int) -> None:
    assert draw(kind, level, False, random.Random(seed)) == draw(kind, level, False, random.Random(seed))


@given(st.sampled_from(LEVELS), st.integers(0, 2**32))
def test_spans_lie_where_their_indices_say(level: int, seed: int) -> None:
    fields = draw("WSC", level, False, random.Random(seed)).fields
    target, places = fields["target"], fields["text"].split()
    span = target["span1_text"].split()
    start = target["span1_index"]
    assert [place.strip(".") for place in places[start : start + len(span)]] == span
    assert places[target["span2_index"]] == target["span2_text"]


@given(st.sampled_from(KINDS), st.sampled_from(LEVELS), st.integers(0, 2**32))
def test_facts_can_be_read_off_the_record(kind: str, level: int, seed: int) -> None:
    """Every fact is a word of the record, so that a question about it has an answer in the text."""
    scene = draw(kind, level, False, random.Random(seed))
    shown = re.findall(r"\w+", str(dict(scene.fields)).lower())
    in_words = {"same", "turned", "opposite", "other"}
    assert all(fact in shown or fact in in_words for fact in scene.facts.values())


@pytest.mark.parametrize("kind", KINDS)
def test_splits_are_reproducible_balanced_and_apart(kind: str) -> None:
    splits = draw_splits(kind, **SIZES)
    assert splits == draw_splits(kind, **SIZES)
    assert splits["train"] != draw_splits(kind, **{**SIZES, "seed": 1})["train"]
    assert {name: len(scenes) for name, scenes in splits.items()} == {
        "train": 120,
        "validation": 90,
        "test": 90,
    }
    everything = [str(scene.fields) for scenes in splits.values() for scene in scenes]
    assert len(set(everything)) == len(everything)
    assert all(scene.familiar for scene in splits["train"])
    assert all(scene.novel for scene in splits["validation"] + splits["test"])
    many = draw_splits(kind, **{**SIZES, "train": 600})["train"]
    labels = Counter(str(scene.fields["label"]) for scene in many)
    assert max(labels.values()) <= 1.4 * min(labels.values())


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_that_decide_validation_are_in_no_familiar_scene(kind: str) -> None:
    splits = draw_splits(kind, **SIZES)
    decisive = {frozenset(scene.combinations[0]) for scene in splits["validation"]}
    familiar = {frozenset(pair) for scene in splits["train"] for pair in scene.combinations}
    assert decisive and familiar and not decisive & familiar


def test_an_eighth_of_all_pairs_is_novel() -> None:
    pairs = [(a, b) for a in words.ANIMALS for b in words.ANIMALS if a < b]
    assert 0.09 < sum(map(is_novel, pairs)) / len(pairs) < 0.16
    assert all(is_novel((a, b)) == is_novel((b, a)) for a, b in pairs)


def test_a_level_can_be_asked_for() -> None:
    hard = draw_splits("COPA", **SIZES, level=3)["train"]
    for scene in hard:
        chain = next(chain for chain in words.CHAINS if chain[1] in scene.fields["premise"])
        assert {scene.fields["choice1"], scene.fields["choice2"]} == {
            f"The {scene.facts['person']} {event}." for event in (chain[0], chain[2])
        }
