"""A generation that advances one denoising step at a time and can be saved after any step.

Import from the modules: `generation` is the iterator, `checkpoint` its file, `stepped_pipeline` runs
the blocks of a diffusers pipeline step by step.
"""
