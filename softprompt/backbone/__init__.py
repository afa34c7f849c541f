"""A frozen causal language model, and the logits it gives at the answers behind a prompt."""

from softprompt.backbone.load import (
    choose_dtype,
    load_backbone,
    local_folder,
    make_backbone,
    model_fingerprint,
)
from softprompt.backbone.shared_prefix import Backbone

__all__ = ["Backbone", "choose_dtype", "load_backbone", "local_folder", "make_backbone", "model_fingerprint"]
