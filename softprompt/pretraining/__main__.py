"""Pretrains the microworld's model and writes it into a folder: `make micro-model`."""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers.utils.logging import disable_progress_bar

from softprompt.files import CONF
from softprompt.parsing import parse_microworld_data, parse_task_settings
from softprompt.pretraining.card import write_card
from softprompt.pretraining.pretrain import Recipe, pretrain

TASKS = (
    *("cb", "rte", "copa", "wsc"),
    *sorted(f"microworld/{path.stem}" for path in (CONF / "task/microworld").glob("*.yaml")),
)
RECIPE = Recipe()


def main() -> None:
    """Pretrain the model, score it, and write weights, tokenizer, model card, scores and truth into a folder."""
    parser = argparse.ArgumentParser(prog="python -m softprompt.pretraining", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=RECIPE.seed, help="an integer >= 0 (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=RECIPE.steps, help="training steps (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / "microworld" / "model",
        help="folder (default: %(default)s)",
    )
    options = parser.parse_args()
    # The number of threads changes the order of floating-point sums. Thousands of steps amplify the difference.
    torch.set_num_threads(1)
    recipe = replace(RECIPE, seed=options.seed, steps=options.steps)
    tasks = [parse_task_settings(yaml.safe_load((CONF / f"task/{name}.yaml").read_text())) for name in TASKS]
    data = parse_microworld_data(yaml.safe_load((CONF / "data/microworld.yaml").read_text()))

    console = Console(highlight=False)
    columns = (TextColumn("pretraining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=recipe.steps)

        def show_step(step: int, loss: float) -> None:
            progress.update(bar, completed=step)
            if step % 500 == 0:
                console.print(f"step {step:6}  loss {loss:.3f}")

        backbone = pretrain(tasks, recipe, show_step)
    disable_progress_bar()
    backbone.model.save_pretrained(options.output)
    backbone.tokenizer.save_pretrained(options.output)
    console.print(write_card(options.output, backbone, recipe, tasks, data), soft_wrap=True)
    console.print(f"written to {options.output}")


if __name__ == "__main__":
    main()
