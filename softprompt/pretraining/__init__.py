"""Pretrains the microworld's model: lessons in the microworld's language in, a BLOOM that was taught them out."""
