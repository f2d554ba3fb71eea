"""The reference engine: plain Python, the oracle of the fast engine."""
