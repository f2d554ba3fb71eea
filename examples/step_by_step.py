"""Iterate step by step: print progress, preview, save a checkpoint halfway, restore it."""

from pathlib import Path

from reelgrid import Request
from reelgrid.engine.generation import Generation
from reelgrid.models.loading import load_model

model = load_model("embedded")
checkpoint = Path("half_way.safetensors")

with Generation(model, Request("a blue star falls", seed=7)) as generation:
    for progress in generation:
        print(progress.stage, progress.step, "of", progress.num_steps)
        if progress.step == progress.num_steps // 2:
            break
    print("preview", generation.preview().shape)
    generation.save_checkpoint(checkpoint)

with Generation.restore(checkpoint, model) as generation:
    for progress in generation:
        print(progress.stage, progress.step, "of", progress.num_steps)
    print("frames", generation.frames.shape)
checkpoint.unlink()
