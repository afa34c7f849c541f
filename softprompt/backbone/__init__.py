"""A frozen causal language model: its embeddings, and the logits it gives at the answers behind a prompt."""

from softprompt.backbone.base import Backbone
from softprompt.backbone.load import (
    choose_dtype,
    load_backbone,
    make_backbone,
    model_fingerprint,
)
from softprompt.backbone.source import local_folder

__all__ = ["Backbone", "choose_dtype", "load_backbone", "local_folder", "make_backbone", "model_fingerprint"]
