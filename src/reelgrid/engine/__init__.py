"""A generation as a state that advances one denoising step at a time.

Import from its files: `generation` for the iterator, `state` for its file, `hook` for how a
family's own blocks are run step by step. Not here: jobs, clips on disk, the command line.
"""
