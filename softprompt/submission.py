"""Writes runs' predictions as SuperGLUE's submission files, one per task.

python -m softprompt.submission outputs/study/cb/text-seed0-1a2b3c4d outputs/study/multirc/text-seed0-5e6f7a8b submission
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from softprompt.errors import UserError, print_error
from softprompt.files import file_sha256, write_atomically
from softprompt.runs import Run

Line = Mapping[str, Any]


def write_submission(run_folder: Path, folder: Path) -> Path:
    """Write `<folder>/<the task's folder>.jsonl` from a run's predictions, and return its path.

    Raises:
        UserError: there is no finished run, it has no predictions or they were changed, a prediction has no `idx`, or the
            file exists already.
    """
    run = Run.at(run_folder)
    path = folder / f"{run.settings.task.folder}.jsonl"
    if path.exists():
        raise UserError(f"{path}: exists already; choose another folder")
    written = file_sha256(run.predictions)
    if written is None or written != run.result()["files"].get(run.predictions.name, written):
        raise UserError(
            f"{run.predictions}: is missing or was changed; the training command with data.predict=true writes it"
        )
    lines = [json.loads(line) for line in run.predictions.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if "idx" not in line:
            raise UserError(f"{line['record']}: has no 'idx', which a submission needs")
    content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in submission(lines))
    write_atomically(path, content)
    return path


def submission(predictions: Sequence[Line]) -> Iterator[dict[str, Any]]:
    """The lines of a submission file.

    Args:
        predictions: lines of `predictions.jsonl`, each with `idx` and `label`. Where `idx` is an object, its keys tell the
            task: of MultiRC it has `paragraph`, `question` and `answer`, of ReCoRD `passage` and `query`.
    """
    passages: dict[int, dict[int, list[dict[str, Any]]]] = {}  # MultiRC: paragraph -> question -> answers
    for line in predictions:
        match line["idx"]:
            case {"paragraph": paragraph, "question": question, "answer": answer}:
                answers = passages.setdefault(paragraph, {}).setdefault(question, [])
                answers.append({"idx": answer, "label": line["label"]})
            case {"query": query}:
                yield {"idx": query, "label": line["label"]}
            case idx:
                yield {"idx": idx, "label": line["label"]}
    for paragraph, questions in passages.items():
        of_passage = [{"idx": question, "answers": answers} for question, answers in questions.items()]
        yield {"idx": paragraph, "passage": {"questions": of_passage}}


def main() -> None:
    """`python -m softprompt.submission`."""
    parser = argparse.ArgumentParser(
        prog="python -m softprompt.submission", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("run", type=Path, nargs="+", help="the folder of a finished run with predictions")
    parser.add_argument("folder", type=Path, help="where the files are written")
    options = parser.parse_args()
    try:
        for run in options.run:
            print(f"written to {write_submission(run, options.folder)}")
    except UserError as error:
        print_error(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
