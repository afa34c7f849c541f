"""A Hydra launcher that trains the jobs of a sweep in few, long-lived workers: one per GPU, CPU core or Slurm task.

See README.md in this folder. Hydra finds the plugin by itself: `hydra/launcher=packed`.
"""
