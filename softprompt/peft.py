"""Prompts of PEFT: write a run as an adapter that `PeftModel` loads, and make a run of an adapter.

python -m softprompt.peft export outputs/study/cb/text-seed0-1a2b3c4d adapter
python -m softprompt.peft import adapter task=cb model=any model.id=bigscience/bloom-560m data=superglue_hub
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import save

from softprompt.adapter import CONFIG, PREFIX, PROMPT, TENSOR, WEIGHTS, read_adapter
from softprompt.backbone import local_folder
from softprompt.commands import train
from softprompt.errors import UserError, print_error
from softprompt.files import write_atomically
from softprompt.library import load
from softprompt.runs import Run
from softprompt.settings import TaskSettings

CARD = """\
---
library_name: peft
base_model: {base}
---

# A {what} for {task}

{rows} rows in front of `{base}`, trained by softprompt {version} with {examples} examples. The model is frozen.{first}

| | exact match | rank accuracy |
|---|---|---|
{scores}

On {n} validation examples; the most frequent answer has {majority:.1%}. The best step ({best_step} of {steps}) was selected
on {selected_on}.

- **Text** behind the prompt, without special tokens in front: `{template}`
- **Answers**: a space and {answers}, then the end-of-sequence token.
- **Recipe**: seed {seed}, start: {init}, {optimizer} with learning rate {lr}, batches of {batch_size}.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{base}")
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "path/to/this/folder")
```
"""


def export(run_folder: Path, folder: Path) -> None:
    """Write a finished run's best prompt as an adapter: config, weights, and a model card.

    Raises:
        UserError: there is no finished run, or the folder to write has files already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: is not empty; choose another folder")
    run = Run.at(run_folder)
    prompt, result, settings = run.best_prompt(), run.result(), run.settings
    matrix, first = prompt.matrix, ""
    if prompt.bos is not None and prompt.method != "prefix":
        # PEFT puts nothing in front of its rows, so the token's embedding is the first of them.
        matrix = load(run_folder, device="cpu").backbone.behind_bos(matrix)
        first = " The first row is the embedding of the beginning-of-sequence token and was not trained."
    rows, width = matrix.shape
    kind = {
        "peft_type": PROMPT,
        "token_dim": width,
        "prompt_tuning_init": "RANDOM",
    }  # the start, without weights
    if prompt.method == "prefix":
        kind = _prefix_config(run_folder)
    local = local_folder(settings.model)
    base = str(local.absolute()) if local else settings.model.id
    config = {
        **kind,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": result["backbone"]["revision"],
        "inference_mode": True,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": rows,
    }
    card = CARD.format(
        base=base,
        task=settings.task.name,
        what="prefix" if prompt.method == "prefix" else "soft prompt",
        rows=rows,
        first=first,
        version=result["versions"]["softprompt"],
        examples=result["examples"]["train"],
        template=json.dumps(settings.task.template),
        answers=_answers(settings.task),
        scores="\n".join(
            _score_line(name, scores)
            for name, scores in (
                ("no prompt", result["baselines"]["no_prompt"]),
                ("the instruction", result["baselines"]["instruction"]),
                ("this prompt", result["tuned"]),
            )
        ),
        optimizer=settings.optim.target.rpartition(".")[2],
        lr=result.get("lr", settings.optim.lr),
        batch_size=settings.trainer.batch_size,
        n=result["tuned"]["n"],
        majority=result["baselines"]["majority"],
        **{name: result[name] for name in ("best_step", "steps", "selected_on", "seed", "init")},
    )
    write_atomically(folder / WEIGHTS, save({TENSOR: matrix.contiguous()}, {"format": "pt"}))
    write_atomically(folder / "README.md", card)
    write_atomically(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def _prefix_config(run_folder: Path) -> dict[str, object]:
    """What PEFT has to know of a prefix. In PEFT all layers have the same shape, and keys and values the same width."""
    shapes = load(run_folder, device="cpu").backbone.cache_shapes
    heads, key, value = shapes[0]
    if key != value or len(set(shapes)) > 1:
        raise UserError(
            f"{run_folder}: the model's layers have keys and values of different shapes, which PEFT cannot hold"
        )
    return {
        "peft_type": PREFIX,
        "token_dim": heads * key,
        "num_attention_heads": heads,
        "num_layers": len(shapes),
        "prefix_projection": False,
    }


def _answers(task: TaskSettings) -> str:
    """What the model writes behind the space."""
    answers = ", ".join(f"`{answer}`" for answer in task.verbalizers)
    return f"one of {answers}" if answers else f"free text of at most {task.max_answer_tokens} tokens"


def _score_line(name: str, scores: dict[str, Any]) -> str:
    exact_match, rank = (scores[key] for key in ("exact_match", "rank_accuracy"))
    return f"| {name} | {exact_match:.1%} | {'–' if rank is None else f'{rank:.1%}'} |"


def main() -> None:
    """`python -m softprompt.peft`."""
    parser = argparse.ArgumentParser(prog="python -m softprompt.peft", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    to_peft = commands.add_parser("export", help="write a run as an adapter")
    to_peft.add_argument("run", type=Path, help="the folder of a finished run")
    to_peft.add_argument("folder", type=Path, help="a new folder")
    from_peft = commands.add_parser("import", help="make a run of an adapter, without training")
    from_peft.add_argument("folder", type=Path, help="the adapter's folder")
    from_peft.add_argument("settings", nargs="*", help="as for train.py: task=..., data=..., model=...")
    options = parser.parse_args()
    try:
        if options.command == "export":
            export(options.run, options.folder)
            print(f"written to {options.folder}")
            return
        sys.argv = ["train.py", *_import_settings(options.folder), *options.settings]
    except UserError as error:
        print_error(error)
        sys.exit(1)
    train()


def _import_settings(folder: Path) -> list[str]:
    """Settings of a run that scores an adapter."""
    is_prefix = read_adapter(folder).cache_shapes is not None
    path = str(folder.absolute()).replace("\\", "\\\\").replace("'", "\\'")
    # PEFT puts an adapter's rows in front of everything, so no token stands before them.
    no_training = ["prompt=file", f"prompt.path='{path}'", "trainer.max_steps=0", "model.bos=false"]
    return [f"method={'prefix' if is_prefix else 'prompt'}", *no_training]


if __name__ == "__main__":
    main()
