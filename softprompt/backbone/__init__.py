"""A frozen causal language model, and the logits it gives at the answers behind a prompt."""

from softprompt.backbone.load import load_backbone
from softprompt.backbone.shared_prefix import Backbone

__all__ = ["Backbone", "load_backbone"]
