"""Prediction of generation time, memory and power for a model on a GPU."""
