"""The words that are known to be a task's, if the model's folder tells (`truth.json`)."""

from collections.abc import Mapping

from softprompt.analysis.readings import functional_words
from softprompt.backbone import local_folder
from softprompt.files import read_json
from softprompt.study import Study

TAUGHT, FUNCTIONAL = "taught words", "functional words"


def known_words(study: Study) -> Mapping[str, Mapping[str, set[int]]]:
    """By kind of truth and task, the token ids of the task's words; empty if the model's folder does not tell."""
    folder = local_folder(study.settings.model)
    known: dict[str, dict[str, set[int]]] = {TAUGHT: {}, FUNCTIONAL: {}}
    if folder is None or not (folder / "truth.json").exists():
        return known
    for task, of_task in read_json(folder / "truth.json").items():
        words = {TAUGHT: set(of_task["words"])}
        if "functional_words" in of_task and "functional_no_prompt" in of_task:
            without_prompt = of_task["functional_no_prompt"]["rank_accuracy"]
            words[FUNCTIONAL] = functional_words(of_task["functional_words"], without_prompt)
        for truth, of_truth in words.items():
            ids = study.backbone.tokenizer.convert_tokens_to_ids(sorted(of_truth))
            known[truth][task] = {token for token in ids if token is not None and study.is_word(token)}
    return known
