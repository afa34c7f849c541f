"""Nearest tokens of many prompts in a large vocabulary: seconds, and memory above the model's weights.

    .venv/bin/python benchmarks/neighbours.py

The last line printed is one JSON object.
"""

import json

import torch
from shared import circumstances, make_model, parser, peak_memory, timed

from softprompt.analysis.neighbours import nearest_tokens
from softprompt.backbone import make_backbone

PROMPTS = 16


def main() -> None:
    """Time both spaces: raw, and after the embedding LayerNorm."""
    arguments = parser(__doc__)
    arguments.set_defaults(layers=1)
    options = arguments.parse_args()
    model = make_model(options)
    backbone = make_backbone(model, range(model.config.vocab_size), options.shape, None)
    rows = torch.randn(PROMPTS * options.prompt_tokens, backbone.width)

    def raw() -> None:
        nearest_tokens(rows, backbone.embedding_chunks(), 5)

    def as_read() -> None:
        read = (backbone.model_input(chunk) for chunk in backbone.embedding_chunks())
        nearest_tokens(backbone.model_input(rows), read, 5)

    result = {
        "rows": len(rows),
        "vocabulary": model.config.vocab_size,
        "width": backbone.width,
        "peak_memory_mb": round(max(peak_memory(work, options.device) for work in (raw, as_read)) / 1e6),
        "seconds": {work.__name__: timed(work, options.device) for work in (raw, as_read)},
        **circumstances(options),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
