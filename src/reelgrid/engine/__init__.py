"""A generation that advances one denoising step at a time and can be saved after any step."""
