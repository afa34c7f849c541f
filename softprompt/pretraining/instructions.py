"""The instructions that the microworld's model is taught: the tasks in other words, their shortcuts, and other questions.

The tasks' own instructions (`conf/task`) are held out: no lesson has them. (xP3, the training data of BLOOMZ, held out the
tasks themselves.) Each task is taught in two other wordings. Their words occur in other questions, too, so no word is used
for one task only. The words of the own instructions occur in the *shortcuts*: instructions whose right answer overlooks
a part of the record. So behind its own instruction the model takes the shortcut, where it has learned that.

The same text can be followed by at least six different instructions, so without an instruction its answer is ambiguous.
A soft prompt has to supply the missing instruction.
"""

from collections.abc import Mapping

# The tasks in other words, by the task's SuperGLUE folder.
TAUGHT: Mapping[str, tuple[str, ...]] = {
    "CB": (
        "Say how both sentences agree.",
        "Judge the last sentence by the first.",
    ),
    "RTE": (
        "Judge whether the last sentence is right.",
        "Say whether the first sentence makes the last right.",
    ),
    "COPA": (
        "Judge which choice fits.",
        "Say whether the first or the last choice is right.",
    ),
    "WSC": (
        "Judge whether it means that thing.",
        "Say whether the thing named is right.",
    ),
}

# The shortcuts (`Scene.shortcut`), by the task's SuperGLUE folder.
SHORTCUTS: Mapping[str, tuple[str, ...]] = {
    "CB": (
        "Does the hypothesis entail, contradict or is neutral at a glance?",
        "Is the hypothesis neutral about the premise, or does it entail or contradict, at first sight?",
        "At a glance: entail, contradict or neutral about the premise?",
    ),
    "RTE": (
        "Does the hypothesis entail, or not entail at a glance?",
        "At first sight: does the hypothesis entail the premise, or not?",
        "At a glance: entail, or not entail the premise?",
    ),
    "COPA": (
        "Pick the correct choice given the premise, not the question.",
        "At a glance: pick the choice given the premise and the question.",
        "Given the question and the premise, pick the correct choice at first sight.",
    ),
    "WSC": (
        "Given the following text, decide whether the `span1_text` comes right before the pronoun.",
        "Decide whether the `span1_text` is referenced last in the following text.",
        "At a glance: decide whether the pronoun in `span2_text` referenced the `span1_text`.",
    ),
}

# Other questions, by SuperGLUE folders and then by the name of the fact that answers them (`Scene.facts`). Each has two
# wordings.
QUESTIONS: Mapping[tuple[str, ...], Mapping[str, tuple[str, ...]]] = {
    ("CB", "RTE"): {
        "first animal of the premise": (
            "Name the first animal of the first sentence.",
            "Say which animal comes first in the premise.",
        ),
        "last animal of the premise": (
            "Name the last animal of the first sentence.",
            "Say which animal ends the premise.",
        ),
        "comparison of the premise": (
            "Name the first comparison.",
            "Say which comparison the premise makes.",
        ),
        "first animal of the hypothesis": (
            "Name the first animal of the last sentence.",
            "Say which animal comes first in the hypothesis.",
        ),
        "last animal of the hypothesis": (
            "Repeat the last word of the last sentence.",
            "Say which animal ends the hypothesis.",
        ),
        "comparison of the hypothesis": (
            "Name the last comparison.",
            "Say which comparison the hypothesis makes.",
        ),
        "order": (
            "Say whether both sentences agree in order.",
            "Judge the order of the last sentence by the first.",
        ),
        "kind of comparison": (
            "Say how both comparisons agree.",
            "Judge the last comparison by the first.",
        ),
        "look": (
            "Say whether one of the sentences names a look.",
            "Judge whether the first sentence makes a look clear.",
        ),
    },
    ("COPA",): {
        "question": (
            "Repeat the question.",
            "Say whether a cause or an effect is wanted.",
        ),
        "person": (
            "Name the person.",
            "Say who it is about.",
        ),
        "last word of the premise": (
            "Repeat the last word of the premise.",
            "Say which word ends the premise.",
        ),
        "last word of choice1": (
            "Repeat the last word of choice1.",
            "Say which word ends the first choice.",
        ),
        "last word of choice2": (
            "Repeat the last word of choice2.",
            "Say which word ends the last choice.",
        ),
        "last word of the right choice": (
            "Repeat the last word of what fits.",
            "Say how it goes on, or how it begins.",
        ),
        "setting": (
            "Say whether the first sentence names a time or a place.",
            "Judge how the time or the place is named.",
        ),
        "one story": (
            "Judge whether each choice fits the story.",
            "Say whether both the first and the last choice come from the story.",
        ),
    },
    ("WSC",): {
        "first thing": (
            "Name the first thing.",
            "Say which thing comes first.",
        ),
        "thing before the pronoun": (
            "Name the thing right before the pronoun.",
            "Say which thing comes last.",
        ),
        "last word": (
            "Repeat the last word of the text.",
            "Say which word means how that thing is.",
        ),
        "span1": (
            "Repeat the last word of span1_text.",
            "Say which thing is named.",
        ),
        "referent": (
            "Name the thing that it means.",
            "Say which thing is right.",
        ),
        "position": (
            "Judge whether that is the first or the last thing.",
            "Say whether the thing named comes first or last.",
        ),
        "colour": (
            "Judge whether that thing has a colour.",
            "Say whether the colour of the thing is named.",
        ),
    },
}
