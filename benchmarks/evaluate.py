"""Time of exact match over a validation set: softprompt against PEFT's prompt tuning with `generate`.

    .venv/bin/python benchmarks/evaluate.py --task cb

PEFT is used as in its documentation: left-padded batches and greedy `generate`, with as many new tokens as the longest
answer has. softprompt computes each text once, appends all answers of the task to it, and compares the argmax at each
answer position with the answer's token. This also gives the scores of the other answers, which `generate` does not.
First a check that both agree on the generated answers; then they are timed alternately in one process. The last line
printed is one JSON object.
"""

import json
import random
import statistics
import warnings
from collections.abc import Callable
from typing import Any

import torch
from peft import PromptTuningConfig, TaskType, get_peft_model
from shared import LENGTHS, make_model, metadata, parser, random_tokens, timed
from torch import Tensor

from softprompt.backbone import Backbone, make_backbone
from softprompt.data.examples import Example
from softprompt.scoring import score_all

END = 2  # the end-of-sequence token
PADDING = 3
Generate = Callable[[list[list[int]], int], list[list[int]]]


def main() -> None:
    """Check that both agree, time them, and print the result."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--examples", type=int, help="number of examples (default: the whole validation set)"
    )
    arguments.set_defaults(task="cb", repeats=3)
    options = arguments.parse_args()
    warnings.filterwarnings(
        "ignore", category=FutureWarning
    )  # PEFT uses deprecated functions of transformers
    model = make_model(options)
    backbone = make_backbone(model, None, options.shape, None)
    rng = random.Random(0)
    texts = [random_tokens(rng, length) for length in LENGTHS[options.task]["validation"]][: options.examples]
    rng.shuffle(texts)
    answers = tuple((*random_tokens(rng, length - 1), END) for length in LENGTHS[options.task]["answers"])
    prompt = backbone.embed(list(range(100, 100 + options.prompt_tokens)))
    generate = peft_generate(model, prompt, options.device, options.batch_size)
    longest = max(map(len, answers))

    checked = texts[: options.batch_size]
    agreement = agree(backbone, prompt, checked, generate(checked, longest))
    print(f"softprompt and PEFT agree on {agreement:.0%} of the generated answers", flush=True)
    if agreement < (1 if options.dtype == "float32" else 0.5):  # bfloat16 rounding changes some argmaxes
        raise SystemExit("softprompt and PEFT do not compute the same")
    examples = [Example(tuple(text), answers, 0, "") for text in texts]
    rows: list[dict[str, float]] = []
    for _ in range(options.repeats):
        rows.append(
            {
                "softprompt": timed(lambda: score_all(backbone, [prompt], examples), options.device),
                "peft": timed(lambda: generate(texts, longest), options.device),
            }
        )
        print({name: round(seconds, 2) for name, seconds in rows[-1].items()}, flush=True)
    ratios = [row["peft"] / row["softprompt"] for row in rows]
    result: dict[str, Any] = {
        "ratio_vs_peft": {"min": min(ratios), "median": statistics.median(ratios), "max": max(ratios)},
        "agreement": agreement,
        "examples": len(texts),
        "answers": [len(answer) for answer in answers],
        "seconds": rows,
        **metadata(options),
    }
    print(json.dumps(result))


def peft_generate(model: Any, prompt: Tensor, device: str, batch_size: int) -> Generate:
    """Greedy generation with PEFT.

    Args:
        model: the frozen model.
        prompt: [n, d], the rows of PEFT's prompt.
        device: where to generate.
        batch_size: texts per batch.

    Returns:
        A function from texts and a number of new tokens to the generated tokens of each text.
    """
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=len(prompt))
    wrapped = get_peft_model(model, config)
    with torch.no_grad():
        wrapped.prompt_encoder["default"].embedding.weight.copy_(prompt)

    @torch.no_grad()
    def generate(texts: list[list[int]], new_tokens: int) -> list[list[int]]:
        generated = []
        for start in range(0, len(texts), batch_size):
            batch = texts[start : start + batch_size]
            width = max(map(len, batch))
            ids = torch.tensor([[PADDING] * (width - len(text)) + text for text in batch], device=device)
            mask = torch.tensor(
                [[0] * (width - len(text)) + [1] * len(text) for text in batch], device=device
            )
            output = wrapped.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False,
                eos_token_id=END, pad_token_id=PADDING,
            )  # fmt: skip
            generated += output[:, width:].tolist()
        return generated

    return generate


def agree(backbone: Backbone, prompt: Tensor, texts: list[list[int]], generated: list[list[int]]) -> float:
    """Share of texts for which softprompt agrees with PEFT: the generated answer matches exactly, a changed one not.

    Args:
        backbone: the same model as PEFT's.
        prompt: [n, d].
        texts: token ids of each text.
        generated: the tokens that PEFT generated after each text.
    """
    agreements = []
    for text, tokens in zip(texts, generated, strict=True):
        answer = tuple(tokens[: tokens.index(END) + 1] if END in tokens else tokens)
        changed = (*answer[:-1], answer[-1] + 1)
        (scores,) = score_all(backbone, [prompt], [Example(tuple(text), (answer, changed), 0, "")])
        agreements.append(scores.written[0].tolist() == [True, False])
    return sum(agreements) / len(agreements)


if __name__ == "__main__":
    main()
