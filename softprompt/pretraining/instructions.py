"""The instructions that the microworld's model is taught: the tasks' own in other words, and other questions.

The same text can be followed by at least six different instructions, so without an instruction its answer is ambiguous.
A soft prompt has to supply the missing instruction.
"""

from collections.abc import Mapping

# Paraphrases of the tasks' own instructions (`conf/task`), by the task's SuperGLUE folder.
PARAPHRASES: Mapping[str, tuple[str, ...]] = {
    "CB": (
        "Say whether both agree, contradict or stay neutral.",
        "Entail, contradict or neutral: which relation holds between premise and hypothesis?",
    ),
    "RTE": (
        "Is it certain that the hypothesis follows, or not entail?",
        "Judge whether the premise does entail the hypothesis or not.",
    ),
    "COPA": (
        "Which choice is more plausible?",
        "Select the correct alternative, choice1 or choice2.",
    ),
    "WSC": (
        "Does the pronoun mean span1_text, true or false?",
        "Decide: is span1_text what span2_text refers to?",
    ),
}

# Other questions, by SuperGLUE folders and then by the name of the fact that answers them (`Scene.facts`). Each has two
# wordings.
QUESTIONS: Mapping[tuple[str, ...], Mapping[str, tuple[str, ...]]] = {
    ("CB", "RTE"): {
        "first animal of the premise": (
            "Name the first animal of the premise.",
            "Which animal comes first in the premise?",
        ),
        "last animal of the premise": (
            "Name the last animal of the premise.",
            "Which animal ends the premise?",
        ),
        "comparison of the premise": (
            "Name the first comparison of the premise.",
            "Which comparison comes first in the premise?",
        ),
        "first animal of the hypothesis": (
            "Name the first animal of the hypothesis.",
            "Which animal comes first in the hypothesis?",
        ),
        "last animal of the hypothesis": (
            "Repeat the last word of the hypothesis.",
            "Which animal ends the hypothesis?",
        ),
        "comparison of the hypothesis": (
            "Name the comparison of the hypothesis.",
            "Which comparison does the hypothesis make?",
        ),
        "order": (
            "Is the order of the animals the same or turned?",
            "Say how the animals are ordered: same or turned.",
        ),
        "kind of comparison": (
            "Is the comparison the same or opposite?",
            "Say how the comparisons differ: same, opposite, other.",
        ),
    },
    ("COPA",): {
        "question": (
            "Repeat the question.",
            "Is a cause wanted, or an effect?",
        ),
        "person": (
            "Name the person.",
            "Who is the story about?",
        ),
        "last word of the premise": (
            "Repeat the last word of the premise.",
            "Which word ends the premise?",
        ),
        "last word of choice1": (
            "Repeat the last word of choice1.",
            "Which word ends choice1?",
        ),
        "last word of choice2": (
            "Repeat the last word of choice2.",
            "Which word ends choice2?",
        ),
        "last word of the right choice": (
            "How does the story go on, or begin?",
            "Repeat the last word of what fits.",
        ),
    },
    ("WSC",): {
        "first thing": (
            "Name the first thing of the text.",
            "Which thing comes first in the text?",
        ),
        "thing before the pronoun": (
            "Name the thing before the pronoun.",
            "Which thing comes last in the text?",
        ),
        "last word": (
            "Repeat the last word of the text.",
            "Which word ends the text?",
        ),
        "span1": (
            "Repeat the last word of span1_text.",
            "Which thing is span1_text?",
        ),
        "referent": (
            "What does it stand for?",
            "Name the thing that the pronoun means.",
        ),
    },
}
