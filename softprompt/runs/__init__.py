"""Runs on disk: their ids, directories and locks, and finding all runs under a folder."""

from softprompt.runs.find import find_runs
from softprompt.runs.identity import identity, run_id, task_identity
from softprompt.runs.lock import RunLock
from softprompt.runs.run import Row, Run

__all__ = ["Row", "Run", "RunLock", "find_runs", "identity", "run_id", "task_identity"]
