"""Exact match over a validation set, ours against PEFT's prompt with `generate`.

    .venv/bin/python benchmarks/evaluate.py --task cb

PEFT is used as its documentation does: left-padded batches, greedy `generate`, as many new tokens as the longest answer
has. Ours reads every text once (BLOOM; another model once per answer), puts every answer of the task behind it, and compares argmaxes: more than `generate`
tells, for it scores the other answers, too. The two alternate in one process, after a check that ours finds what PEFT
writes to be written. The last line printed is one JSON object.
"""

import json
import random
import statistics
import warnings
from collections.abc import Callable
from typing import Any

import torch
from peft import PromptTuningConfig, TaskType, get_peft_model
from shared import LENGTHS, circumstances, make_model, parser, random_tokens, timed
from torch import Tensor

from softprompt.backbone import Backbone, make_backbone
from softprompt.data.examples import Example
from softprompt.scoring import score_all

END = 2  # a token that ends an answer
Generate = Callable[[list[list[int]], int], list[list[int]]]


def main() -> None:
    """Check, time, and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--examples", type=int, help="fewer than the validation set has")
    arguments.set_defaults(task="cb", repeats=3)
    options = arguments.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)  # between PEFT and transformers
    model = make_model(options)
    backbone = make_backbone(model, None, options.shape, None)
    rng = random.Random(0)
    texts = [random_tokens(rng, length) for length in LENGTHS[options.task]["validation"]][: options.examples]
    rng.shuffle(texts)
    answers = tuple((*random_tokens(rng, length - 1), END) for length in LENGTHS[options.task]["answers"])
    prompt = backbone.embed(list(range(100, 100 + options.prompt_tokens)))
    generate = peft_generate(model, prompt, options.device, options.batch_size)
    longest = max(map(len, answers))

    few = texts[: options.batch_size]
    agreement = agree(backbone, prompt, few, generate(few, longest))
    print(f"of what PEFT writes ours finds written: {agreement:.0%}", flush=True)
    if agreement < (1 if options.dtype == "float32" else 0.5):  # bfloat16 turns near ties
        raise SystemExit("not the same computation")
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
        **circumstances(options),
    }
    print(json.dumps(result))


def peft_generate(model: Any, prompt: Tensor, device: str, batch_size: int) -> Generate:
    """What PEFT's prompt writes behind texts, greedily, a batch at a time."""
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=len(prompt))
    wrapped = get_peft_model(model, config)
    with torch.no_grad():
        wrapped.prompt_encoder["default"].embedding.weight.copy_(prompt)

    @torch.no_grad()
    def generate(texts: list[list[int]], new_tokens: int) -> list[list[int]]:
        written = []
        for start in range(0, len(texts), batch_size):
            batch = texts[start : start + batch_size]
            width = max(map(len, batch))
            ids = torch.tensor([[3] * (width - len(text)) + text for text in batch], device=device)
            mask = torch.tensor(
                [[0] * (width - len(text)) + [1] * len(text) for text in batch], device=device
            )
            output = wrapped.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False,
                eos_token_id=END, pad_token_id=3,
            )  # fmt: skip
            written += output[:, width:].tolist()
        return written

    return generate


def agree(backbone: Backbone, prompt: Tensor, texts: list[list[int]], written: list[list[int]]) -> float:
    """The share of texts behind which ours finds written what was generated, and not what was not."""
    found = []
    for text, tokens in zip(texts, written, strict=True):
        answer = tuple(tokens[: tokens.index(END) + 1] if END in tokens else tokens)
        other = (*answer[:-1], answer[-1] + 1)
        (scores,) = score_all(backbone, [prompt], [Example(tuple(text), (answer, other), 0, "")])
        found.append(scores.written[0].tolist() == [True, False])
    return sum(found) / len(found)


if __name__ == "__main__":
    main()
