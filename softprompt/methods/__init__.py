"""Methods: what stands in front of the text, and what of it is trained."""

from softprompt.methods.method import Method, make_method, view_of

__all__ = ["Method", "make_method", "view_of"]
