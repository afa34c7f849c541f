"""The embedded default: a small written language, and a tiny BLOOM that was taught instructions in it.

Nothing has to be downloaded, and the instructions that the model understands are known, so a way of reading
soft prompts can be scored against the truth.
"""
