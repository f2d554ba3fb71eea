"""Strict reading of files that users write: TOML, JSON and CSV become typed values."""
