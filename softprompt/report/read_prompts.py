"""Every reading of every prompt of a sweep, as ranked lists of words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.analysis.displacement import displacements, mean_displacements, random_directions
from softprompt.analysis.elicitation import in_place_of_text, token_counts
from softprompt.analysis.neighbours import nearest_tokens
from softprompt.analysis.ranking import CANDIDATES, first_words, likely_words, nearest_words, words_of_rows
from softprompt.backbone.lens import logit_lens, middle_layer
from softprompt.backbone.writing import write_greedily
from softprompt.report.prune_prompts import ORDERS, PROMPTS, pruning_orders
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

Matrix = Float[Tensor, "_ d"]
NEAREST = "nearest"
ALL_RUNS = "all"  # in place of a run, where the runs of a task and variant are read together


@dataclass
class _Lists:
    """Lines of a table of readings."""

    study: Study
    lines: list[dict[str, object]] = field(default_factory=list)

    def add(self, reading: str, prompt: str, of_runs: Sequence[list[int]]) -> None:
        """A list of words for each run."""
        for label, words in zip(self.study.labels.to_dict("records"), of_runs, strict=True):
            line = {name: label[name] for name in ("task", "variant", "run")}
            self.lines.append({"reading": reading, **line, "prompt": prompt, "words": words})

    def add_of_variants(
        self, reading: str, prompt: str, of_variants: Mapping[tuple[str, str], list[int]]
    ) -> None:
        """A list of words for each task and variant."""
        for (task, variant), words in of_variants.items():
            line = {"task": task, "variant": variant, "run": ALL_RUNS}
            self.lines.append({"reading": reading, **line, "prompt": prompt, "words": words})


def read_prompts(study: Study, settings: AnalysisSettings) -> pd.DataFrame:
    """Ranked lists of words of tuned and initial prompts.

    Returns:
        One line per `reading`, `task`, `variant`, `run` and `prompt` (`tuned` or `initial`), with `words`: token ids, best
        first. In the place of the displacement of an initial prompt, which is 0, stand random directions.
    """
    lists = _Lists(study)
    matrices = {"tuned": [prompt.matrix for prompt in study.prompts], "initial": study.initial_matrices}
    for kind, prompts in matrices.items():
        lists.add(NEAREST, kind, _nearest(study, prompts))
    _displacements(lists, matrices["tuned"], matrices["initial"])
    for kind, prompts in matrices.items():
        for name, layer in (("logit lens", None), ("logit lens, middle layer", middle_layer(study.backbone))):
            if (distributions := logit_lens(study.backbone, prompts, layer)) is not None:
                lists.add(name, kind, [likely_words(mean, study.is_word) for mean in distributions])
        lists.add("elicitation", kind, _elicited(study, settings, prompts))
    orders = pruning_orders(study, settings.pruning_examples)
    for kind, prompts in zip(PROMPTS, matrices.values(), strict=True):
        nearest = [ids.tolist() for ids, _ in _nearest_tokens(study, prompts)]
        for order in ORDERS:
            of_runs = zip(orders[kind, order], nearest, strict=True)
            lists.add(
                f"pruning, {order}", kind, [words_of_rows(rows, ids, study.is_word) for rows, ids in of_runs]
            )
    return pd.DataFrame(lists.lines)


def _displacements(lists: _Lists, tuned: list[Matrix], initial: list[Matrix]) -> None:
    study = lists.study
    moved = displacements(tuned, initial)
    lists.add("displacement", "tuned", _nearest(study, moved))
    lists.add("displacement", "initial", _nearest(study, random_directions(moved)))
    means = mean_displacements(study.labels, tuned, initial)
    for kind, of_variants in (
        ("tuned", list(means.values())),
        ("initial", random_directions(list(means.values()), seed=1)),
    ):
        words = dict(zip(means, _nearest(study, of_variants), strict=True))
        lists.add_of_variants("mean displacement", kind, words)


def _nearest(study: Study, matrices: Sequence[Matrix]) -> list[list[int]]:
    return [nearest_words(ids, cosines, study.is_word) for ids, cosines in _nearest_tokens(study, matrices)]


def _nearest_tokens(
    study: Study, matrices: Sequence[Matrix]
) -> Iterator[tuple[Int[Tensor, "_ k"], Float[Tensor, "_ k"]]]:
    """The nearest tokens of the rows of each matrix, in one pass over the vocabulary, which may be large."""
    if matrices:
        sizes = [len(matrix) for matrix in matrices]
        ids, cosines = nearest_tokens(torch.cat(list(matrices)), study.vocabulary("raw"), CANDIDATES)
        yield from zip(torch.split(ids, sizes), torch.split(cosines, sizes), strict=True)


def _elicited(study: Study, settings: AnalysisSettings, prompts: Sequence[Matrix]) -> list[list[int]]:
    backbone, template = study.backbone, settings.elicitation
    sequences = in_place_of_text(
        backbone.embed_text(template.before), prompts, backbone.embed_text(template.after)
    )
    written = write_greedily(backbone, sequences, token_counts(prompts))
    return [first_words(tokens, study.is_word) for tokens in written]
