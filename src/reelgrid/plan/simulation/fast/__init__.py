"""The fast engine: the events of the reference engine on flat arrays, compiled by numba."""
