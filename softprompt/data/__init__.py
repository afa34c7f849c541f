"""Reads the records of a task and turns them into batches of token ids."""
