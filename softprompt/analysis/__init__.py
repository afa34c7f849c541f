"""Pure functions from prompts and scores to tables."""
