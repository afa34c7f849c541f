"""Writes a run's task for lm-evaluation-harness, which then scores the exported prompt as softprompt does.

python -m softprompt.peft export outputs/study/cb/text-seed0-1a2b3c4d adapter
python -m softprompt.lm_eval outputs/study/cb/text-seed0-1a2b3c4d tasks
"""

import argparse
import json
import sys
from pathlib import Path

import yaml

from softprompt.backbone import local_folder
from softprompt.data.prepare import prepare
from softprompt.data.sources import read_records
from softprompt.errors import UserError, print_error
from softprompt.files import write_atomically
from softprompt.library import load
from softprompt.runs import Run


def write_task(run_folder: Path, folder: Path) -> str:
    """Write a task's YAML for lm-evaluation-harness and the rendered validation records.

    The harness's `acc` is then the rank accuracy of `result.json`: an answer's log-probability is summed over its tokens,
    end-of-sequence included, which stands at the end of every choice.

    Returns:
        The name of the task.

    Raises:
        UserError: there is no finished run, its model or data cannot be read, the files exist already, or its answers are
            free text.
    """
    run = Run.at(run_folder)
    task = run.settings.task
    if task.answers:
        raise UserError(
            f"{run_folder}: the answers of task {task.name!r} are free text, and only tasks with a list of answers can be "
            "written for lm-evaluation-harness"
        )
    name = f"softprompt_{task.name}"
    config, data = folder / f"{name}.yaml", folder / f"{name}.jsonl"
    for path in (config, data):
        if path.exists():
            raise UserError(f"{path}: exists already; choose another folder")
    backbone = load(run_folder, device="cpu").backbone
    records = read_records(run.settings.data, task).splits["validation"]
    prepared = prepare(
        task,
        records,
        run.settings.data.truncate,
        backbone.tokenizer,
        backbone.table_rows,
        backbone.context_length,
    )
    lines = [json.dumps({"text": record.text, "label": record.label}) for record in prepared.rendered]
    write_atomically(data, "\n".join(lines) + "\n")
    content = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"validation": str(data.absolute())}},
        "validation_split": "validation",
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_target": "label",
        "doc_to_choice": [f"{answer}{backbone.tokenizer.eos_token}" for answer in task.verbalizers],
        "target_delimiter": " ",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    write_atomically(config, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return name


def main() -> None:
    """`python -m softprompt.lm_eval`."""
    parser = argparse.ArgumentParser(
        prog="python -m softprompt.lm_eval", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("folder", type=Path, help="where the task is written")
    options = parser.parse_args()
    try:
        name = write_task(options.run, options.folder)
        settings = Run.at(options.run).settings
    except UserError as error:
        print_error(error)
        sys.exit(1)
    base = local_folder(settings.model) or settings.model.id
    print(
        f"lm_eval --model hf --model_args pretrained={base},peft=<the exported folder>,add_bos_token=False --tasks {name} "
        f"--include_path {options.folder}"
    )


if __name__ == "__main__":
    main()
