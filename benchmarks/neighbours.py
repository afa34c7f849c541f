"""Time and memory of the search for the nearest tokens of many prompts in a large vocabulary.

    .venv/bin/python benchmarks/neighbours.py

Memory is counted beyond the model's weights. The last line printed is one JSON object.
"""

import json

import torch
from shared import make_model, metadata, parser, peak_memory, timed

from softprompt.analysis.neighbours import nearest_tokens
from softprompt.backbone import make_backbone

PROMPTS = 16


def main() -> None:
    """Measure both spaces: raw, and model input (after the embedding LayerNorm)."""
    arguments = parser(__doc__)
    arguments.set_defaults(layers=1)
    options = arguments.parse_args()
    model = make_model(options)
    backbone = make_backbone(model, range(model.config.vocab_size), options.shape, None)
    rows = torch.randn(PROMPTS * options.prompt_tokens, backbone.width)  # [n, d], n rows of all prompts

    def raw() -> None:
        nearest_tokens(rows, backbone.embedding_chunks(), 5)

    def model_input() -> None:
        chunks = (backbone.model_input(chunk) for chunk in backbone.embedding_chunks())
        nearest_tokens(backbone.model_input(rows), chunks, 5)

    searches = (raw, model_input)
    result = {
        "rows": len(rows),
        "vocabulary": model.config.vocab_size,
        "width": backbone.width,
        "peak_memory_mb": round(max(peak_memory(search, options.device) for search in searches) / 1e6),
        "seconds": {search.__name__: timed(search, options.device) for search in searches},
        **metadata(options),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
