"""Finish checkpoints in this process: `python -m tests.families.finish FOLDER FAMILY...`.

For every state of every family it writes the frames it comes to. Once a state is past encoding,
the encoders are taken away: a restored generation must not need them.
"""

import sys
from pathlib import Path

import numpy as np

from reelgrid.engine.generation import Generation
from reelgrid.models.loading import LoadedModel
from tests.families.tiny import tiny_model


def finish(folder: Path, family: str) -> None:
    model = tiny_model(family)
    for checkpoint in sorted((folder / family).glob("*.safetensors")):
        if not checkpoint.name.startswith("00-encode"):
            remove_encoders(model)
        generation = Generation.restore(checkpoint, model)
        for _ in generation:
            pass
        np.save(checkpoint.with_suffix(".npy"), generation.frames)


def remove_encoders(model: LoadedModel) -> None:
    assert model.fingerprint  # of the whole model: it is kept
    for name in model.pipeline.component_names:
        if name.startswith(("text_encoder", "tokenizer", "image_encoder")):
            setattr(model.pipeline, name, None)


if __name__ == "__main__":
    for each in sys.argv[2:]:
        finish(Path(sys.argv[1]), each)
