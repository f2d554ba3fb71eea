"""Training and evaluation of the embedded model, on synthetic clips."""
