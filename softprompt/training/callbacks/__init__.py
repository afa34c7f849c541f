"""Lightning callbacks: what a person sees, what is saved, what goes to Weights & Biases."""
