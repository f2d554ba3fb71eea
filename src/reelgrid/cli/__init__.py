"""The command line: each command parses, builds one value, calls one function, prints.

Nothing heavy is imported until a command runs: `reelgrid --help` has to answer at once.
"""
