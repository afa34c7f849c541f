"""Train soft prompts in front of a frozen language model, and read what they learned."""

__version__ = "0.1.0"
