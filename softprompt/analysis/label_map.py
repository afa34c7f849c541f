"""Accuracy up to a label map: does what a prompt writes tell a task's labels apart, whatever the words?

A prompt of one task writes that task's answers on another task's texts. If the tasks share an answer, it scores on the
share of that label without telling labels apart. If they share none, it scores 0 although its answers may tell them
apart. So each answer is taken to mean the label that it goes with most often.
"""

import numpy as np
from jaxtyping import Bool, Int


def correct_up_to_label_map(
    written: Int[np.ndarray, "P E"], labels: Int[np.ndarray, "E"]
) -> Bool[np.ndarray, "P E"]:
    """Which examples are right under the best many-to-one map from answers to labels, cross-fitted.

    For each prompt the map is chosen on one half of the examples and applied to the other, and vice versa: on the even
    positions for the odd ones, and on the odd for the even. Each answer goes to the label that is most frequent among the
    examples on which it is written; with equal counts, or for an answer that is not written in that half, to the label
    that is more frequent in that half, then to the smaller index.

    Args:
        written: what each of P prompts writes on each of E examples, as an index of an answer.
        labels: the right labels, from 0.
    """
    halves = np.arange(len(labels)) % 2
    correct = np.zeros(written.shape, dtype=bool)
    for fitted, scored in ((halves == 0, halves == 1), (halves == 1, halves == 0)):
        frequency = np.bincount(labels[fitted], minlength=labels.max() + 1)  # [labels]
        for prompt, answers in enumerate(written):
            meant = np.empty(answers.max() + 1, dtype=int)  # by answer, its label
            for answer in range(len(meant)):
                among = labels[fitted & (answers == answer)]
                # Counts are integers, so a share of the frequency decides between equal counts only.
                counts = np.bincount(among, minlength=len(frequency)) + frequency / (len(labels) + 1)
                meant[answer] = counts.argmax()
            correct[prompt, scored] = (meant[answers] == labels)[scored]
    return correct


def correct_by_majority(labels: Int[np.ndarray, "E"]) -> Bool[np.ndarray, "E"]:
    """The null of `correct_up_to_label_map`: a single answer everywhere, so the map is the more frequent label."""
    correct: Bool[np.ndarray, "E"] = correct_up_to_label_map(np.zeros((1, len(labels)), dtype=int), labels)[0]
    return correct
