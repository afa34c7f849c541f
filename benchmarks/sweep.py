"""Time of a small sweep: softprompt's packed launcher, Hydra's own launcher, and PEFT with the Hugging Face Trainer.

    .venv/bin/python benchmarks/sweep.py

Each does the same runs: a prompt per seed, the same texts, batch size, number of epochs, and an evaluation by exact match
after each epoch. Each is timed as a user waits for it, from its command to its end, and each loads the model from a folder
(random weights in bloomz-560m's shape, two of 24 layers). softprompt also evaluates the start, no prompt, and the
instruction. PEFT trains all runs in one process on one loaded model, and evaluates with `generate`. The programs are
timed alternately. The last line printed is one JSON object.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from shared import LENGTHS, make_model, metadata, parser, random_tokens, timed
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).parents[1]
ANSWERS = ("yes yes", "no no no")
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")
EVALUATED = 16  # texts at a time in an evaluation, as many as softprompt takes by default with two answers
WORDS = 40_000  # w4 to w39999: a token each


def main() -> None:
    """Make model and data, time each program, and print the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=4, help="runs of the sweep")
    arguments.add_argument("--epochs", type=int, default=1)
    arguments.add_argument("--train", type=int, default=64, help="training texts")
    arguments.add_argument("--validation", type=int, default=32, help="validation texts")
    arguments.add_argument("--peft", type=Path, help=argparse.SUPPRESS)
    arguments.set_defaults(layers=2, repeats=1, batch_size=8)
    options = arguments.parse_args()
    if options.peft:
        train_with_peft(options)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder, options)
        programs = {
            "packed": lambda: softprompt(folder, "packed", options),
            "one by one": lambda: softprompt(folder, "basic", options),
            "peft": lambda: call([*sys.argv, f"--peft={folder}"]),
        }
        rows: list[dict[str, float]] = []
        for _ in range(options.repeats):
            rows.append({})
            for program, work in programs.items():
                rows[-1][program] = timed(work, "cpu")
                print(f"{program}: {rows[-1][program]:.1f} s", flush=True)
    print(
        json.dumps(
            {
                "ratio_vs_peft": [row["peft"] / row["packed"] for row in rows],
                "ratio_vs_one_by_one": [row["one by one"] / row["packed"] for row in rows],
                "seconds": rows,
                **metadata(options),
            }
        )
    )


def make_folder(folder: Path, options: argparse.Namespace) -> None:
    """Write a model with random weights, a tokenizer with one token per word, and texts in the task's lengths."""
    words = [*SPECIAL, *(f"w{number}" for number in range(len(SPECIAL), WORDS)), "yes", "no"]
    model = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.save_pretrained(folder / "model")
    make_model(options).save_pretrained(folder / "model")
    task = {
        "name": "random",
        "folder": "DATA",
        "hub_config": None,
        "instruction": words_of(
            list(range(100, 100 + options.prompt_tokens))
        ),  # as many tokens as the prompt has rows
        "template": "{text}",
        "label": "label",
        "verbalizers": {answer: [label] for label, answer in enumerate(ANSWERS)},
    }
    (folder / "task").mkdir()
    (folder / "task" / "random.yaml").write_text(json.dumps(task))
    rng = random.Random(0)
    for split, count, lengths in (
        ("train", options.train, "train"),
        ("val", options.validation, "validation"),
    ):
        records = [
            {
                "text": words_of(random_tokens(rng, rng.choice(LENGTHS[options.task][lengths]))),
                "label": number % 2,
            }
            for number in range(count)
        ]
        file = folder / "DATA" / f"{split}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(record) + "\n" for record in records))


def words_of(tokens: list[int]) -> str:
    """The text that the tokenizer splits into these tokens."""
    return " ".join(f"w{token}" for token in tokens)


def softprompt(folder: Path, launcher: str, options: argparse.Namespace) -> None:
    """The sweep with one of our launchers."""
    with tempfile.TemporaryDirectory() as output:
        call(
            [
                str(ROOT / "train.py"), "-m", f"hydra/launcher={launcher}", f"hydra.searchpath=[file://{folder}]",
                "task=random", f"seed=range({options.runs})", "model=bloomz_560m", f"model.id={folder / 'model'}",
                "model.revision=null", f"model.dtype={options.dtype}", "data=superglue_jsonl", f"data.root={folder}",
                f"trainer.batch_size={options.batch_size}", f"trainer.max_epochs={options.epochs}",
                "trainer.patience=1000", f"output_root={output}",
            ]
        )  # fmt: skip
        assert len(list(Path(output).rglob("result.json"))) == options.runs


def call(command: list[str]) -> None:
    """Run a Python command; print its output if it fails."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def train_with_peft(options: argparse.Namespace) -> None:
    """The same runs with PEFT's prompt tuning and the Hugging Face Trainer, one after another on one loaded model."""
    import torch
    from peft import PromptTuningConfig, TaskType, get_peft_model
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback, TrainingArguments

    warnings.filterwarnings("ignore")
    folder: Path = options.peft
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=getattr(torch, options.dtype))

    def examples(split: str) -> list[dict[str, list[int]]]:
        records = [json.loads(line) for line in (folder / "DATA" / f"{split}.jsonl").read_text().splitlines()]
        return [
            {
                "text": tokenizer(record["text"])["input_ids"],
                "answer": [*tokenizer(ANSWERS[record["label"]])["input_ids"], tokenizer.eos_token_id],
            }
            for record in records
        ]

    def collate(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        whole = [torch.tensor(example["text"] + example["answer"]) for example in batch]
        labels = [torch.tensor([-100] * len(e["text"]) + e["answer"]) for e in batch]
        return {
            "input_ids": pad_sequence(whole, batch_first=True, padding_value=tokenizer.pad_token_id),
            "attention_mask": pad_sequence([torch.ones_like(ids) for ids in whole], batch_first=True),
            "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
        }

    train, validation = examples("train"), examples("val")
    longest = max(len(example["answer"]) for example in validation)

    @torch.no_grad()
    def exact_match(wrapped: Any) -> float:
        right = 0
        for start in range(0, len(validation), EVALUATED):
            batch = validation[start : start + EVALUATED]
            inputs = tokenizer.pad(
                {"input_ids": [e["text"] for e in batch]}, padding_side="left", return_tensors="pt"
            )
            output = wrapped.generate(
                **{name: inputs[name] for name in ("input_ids", "attention_mask")}, max_new_tokens=longest,
                do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
            for example, row in zip(batch, output[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
                right += row[: len(example["answer"])] == example["answer"]
        return right / len(validation)

    class Evaluate(TrainerCallback):  # type: ignore[misc]
        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            model.eval()
            exact_match(model)
            model.train()

    start = model.get_input_embeddings().weight[100 : 100 + options.prompt_tokens].detach().float()
    for seed in range(options.runs):
        config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=options.prompt_tokens)
        wrapped = get_peft_model(model, config)
        with torch.no_grad():
            wrapped.prompt_encoder["default"].embedding.weight.copy_(start)
        with tempfile.TemporaryDirectory() as output:
            settings = TrainingArguments(
                output_dir=output, seed=seed, per_device_train_batch_size=options.batch_size,
                num_train_epochs=options.epochs, learning_rate=0.001, lr_scheduler_type="constant", save_strategy="no",
                report_to=[], remove_unused_columns=False, disable_tqdm=True, use_cpu=options.device == "cpu",
            )  # fmt: skip
            trainer = Trainer(
                wrapped, settings, train_dataset=train, data_collator=collate, callbacks=[Evaluate()]
            )
            trainer.train()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
