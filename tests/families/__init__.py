"""Tiny pipelines of real families, and what must hold for each of them."""
