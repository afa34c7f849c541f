"""Pretrains the microworld's model: a small BLOOM is trained on instructions about texts in the microworld's language.

The language itself is in `softprompt/microworld`. The result is stored in `softprompt/microworld/model`.
"""
