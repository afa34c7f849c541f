"""The microworld's records are reproducible, correctly labelled and in one split only.

Labels are checked by solvers that read only the sentences of a record.
"""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.microworld import words
from softprompt.microworld.scenes import LEVELS, SCENES, Scene, draw, draw_splits, is_novel

SIZES = {"seed": 0, "train": 120, "validation": 90}
FOLDERS = list(SCENES)


def parse_comparison(sentence: str) -> tuple[str, str, str] | None:
    match = re.fullmatch(r"The (?:\w+ )??(\w+) is (\w+) than the (\w+)\.", sentence)
    return (match.group(1), match.group(2), match.group(3)) if match else None


def solve_inference(fields: dict) -> str:
    """The label that follows from the premise's comparison and its converse."""
    converse_of = {a: b for pair in words.COMPARISONS for a, b in (pair, pair[::-1])}
    facts = set()
    for sentence in re.findall(r"[^.]+\.", fields["premise"]):
        if (parsed := parse_comparison(sentence.strip())) is None:  # a sentence about another animal
            continue
        left, comparison, right = parsed
        facts |= {(left, comparison, right), (right, converse_of[comparison], left)}
    hypothesis = parse_comparison(fields["hypothesis"])
    assert hypothesis and facts
    left, comparison, right = hypothesis
    if (left, comparison, right) in facts:
        return "entailment"
    return "contradiction" if (left, converse_of[comparison], right) in facts else "neutral"


def solve_cause(fields: dict) -> int:
    """The choice that is next to the premise's event in its chain: before it for a cause, after it for an effect."""

    def events(text: str) -> list[tuple[int, int]]:
        return [
            (chain_index, position)
            for chain_index, chain in enumerate(words.CHAINS)
            for position, event in enumerate(chain)
            if f" {event}." in text
        ]

    ((chain, position),) = events(fields["premise"])
    right_event = (chain, position + (1 if fields["question"] == "effect" else -1))
    (answer,) = [choice for choice in (0, 1) if right_event in events(fields[f"choice{choice + 1}"])]
    return answer


def solve_reference(fields: dict) -> bool:
    """True if span 1 is the only thing in front of `it` that has the property at the end of the sentence."""
    things_with = dict(words.PROPERTIES)
    text_words = re.findall(r"\w+", fields["text"].lower())
    things = [word for word in text_words[: text_words.index("it")] if word in words.THINGS][-2:]
    referents = [thing for thing in things if thing in things_with[text_words[-1]]]
    assert len(things) == 2 and len(referents) == 1
    return fields["target"]["span1_text"].lower().endswith(f" {referents[0]}")


def solve(folder: str, scene: Scene) -> object:
    match folder:
        case "CB":
            return solve_inference(dict(scene.fields))
        case "RTE":
            return {"entailment": "entailment"}.get(solve_inference(dict(scene.fields)), "not_entailment")
        case "COPA":
            return solve_cause(dict(scene.fields))
        case _:
            return solve_reference(dict(scene.fields))


@given(st.sampled_from(FOLDERS), st.sampled_from(LEVELS), st.booleans(), st.integers(0, 2**32))
def test_the_label_follows_from_the_sentences(folder: str, level: int, novel: bool, seed: int) -> None:
    scene = draw(folder, level, novel, random.Random(seed))
    assert solve(folder, scene) == scene.fields["label"]
    assert is_novel(scene.combinations[0]) == novel


@given(st.sampled_from(FOLDERS), st.sampled_from(LEVELS), st.integers(0, 2**32))
def test_a_scene_is_the_same_from_the_same_seed(folder: str, level: int, seed: int) -> None:
    assert draw(folder, level, False, random.Random(seed)) == draw(folder, level, False, random.Random(seed))


@given(st.sampled_from(LEVELS), st.integers(0, 2**32))
def test_spans_lie_where_their_indices_say(level: int, seed: int) -> None:
    fields = draw("WSC", level, False, random.Random(seed)).fields
    target, text_words = fields["target"], fields["text"].split()
    span = target["span1_text"].split()
    start = target["span1_index"]
    assert [word.strip(".") for word in text_words[start : start + len(span)]] == span
    assert text_words[target["span2_index"]] == target["span2_text"]


@given(st.sampled_from(FOLDERS), st.sampled_from(LEVELS), st.integers(0, 2**32))
def test_facts_are_words_of_the_record(folder: str, level: int, seed: int) -> None:
    """Every fact is a word of the record or one of a few fixed words, so a model can answer questions about it."""
    scene = draw(folder, level, False, random.Random(seed))
    record_words = re.findall(r"\w+", str(dict(scene.fields)).lower())
    fixed_words = {"same", "turned", "opposite", "other"}
    assert all(fact in record_words or fact in fixed_words for fact in scene.facts.values())


@pytest.mark.parametrize("folder", FOLDERS)
def test_splits_are_reproducible_balanced_and_disjoint(folder: str) -> None:
    splits = draw_splits(folder, **SIZES)
    assert splits == draw_splits(folder, **SIZES)
    assert splits["train"] != draw_splits(folder, **{**SIZES, "seed": 1})["train"]
    assert {name: len(scenes) for name, scenes in splits.items()} == {
        "train": 120,
        "validation": 90,
        "test": 90,
    }
    records = [str(scene.fields) for scenes in splits.values() for scene in scenes]
    assert len(set(records)) == len(records)
    assert all(scene.familiar for scene in splits["train"])
    assert all(scene.novel for scene in splits["validation"] + splits["test"])
    large_train = draw_splits(folder, **{**SIZES, "train": 600})["train"]
    labels = Counter(str(scene.fields["label"]) for scene in large_train)
    assert max(labels.values()) <= 1.4 * min(labels.values())


@pytest.mark.parametrize("folder", FOLDERS)
def test_pairs_that_validation_labels_are_about_are_not_in_train(folder: str) -> None:
    splits = draw_splits(folder, **SIZES)
    validation_pairs = {frozenset(scene.combinations[0]) for scene in splits["validation"]}
    train_pairs = {frozenset(pair) for scene in splits["train"] for pair in scene.combinations}
    assert validation_pairs and train_pairs and not validation_pairs & train_pairs


def test_an_eighth_of_all_pairs_is_novel() -> None:
    pairs = [(a, b) for a in words.ANIMALS for b in words.ANIMALS if a < b]
    assert 0.09 < sum(map(is_novel, pairs)) / len(pairs) < 0.16
    assert all(is_novel((a, b)) == is_novel((b, a)) for a, b in pairs)


def test_a_level_can_be_chosen() -> None:
    level_3 = draw_splits("COPA", **SIZES, level=3)["train"]
    for scene in level_3:
        chain = next(chain for chain in words.CHAINS if chain[1] in scene.fields["premise"])
        assert {scene.fields["choice1"], scene.fields["choice2"]} == {
            f"The {scene.facts['person']} {event}." for event in (chain[0], chain[2])
        }
