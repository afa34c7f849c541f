"""Training: the method, a run's state, a pack of runs, and the callbacks that save and show them."""
