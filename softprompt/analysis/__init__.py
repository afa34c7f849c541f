"""Pure functions: prompts and scores in, tables out."""
