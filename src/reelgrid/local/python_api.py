"""`reelgrid.generate`: a prompt to frames in one call, for Python."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from reelgrid.engine.generation import Generation
from reelgrid.media import Provenance, provenance_of, write_clip
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import Request, RequestOptions


@dataclass(frozen=True, slots=True)
class Clip:
    """A finished clip: frames, RGB [T, H, W, 3], frames per second and provenance."""

    frames: NDArray[np.uint8]
    fps: float
    provenance: Provenance

    def save(self, path: str | Path) -> Path:
        """Return `path`, after writing the clip in the format that its suffix names.

        Raises:
            RequestError: The suffix names no format, or the path cannot be written.
            GenerationError: The disk is full or refuses.
        """
        write_clip(self.frames, Path(path), fps=self.fps, provenance=self.provenance)
        return Path(path)


def generate(
    prompt: str,
    *,
    model: str | LoadedModel = "embedded",
    device: str = "auto",
    dtype: str = "auto",
    **fields: Unpack[RequestOptions],
) -> Clip:
    """Return the clip that a model generates from a prompt.

    Args:
        prompt: What the clip shows.
        model: Catalogue name, hub id, local folder, or a loaded model; the last named model stays
            loaded for the next call.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `auto`, `float32`, `bfloat16`, `float16`.
        **fields: Other fields of `reelgrid.spec.Request`, such as `size="832x480"` or `num_steps=20`;
            what is left out is the model's own default.

    Raises:
        RequestError: The request cannot be carried out; the message says what would be right.
        ModelError: The model cannot be loaded.
        GenerationError: The generation failed.
    """
    request = Request.from_json({"prompt": prompt, **fields})
    loaded = _load(model, device, dtype) if isinstance(model, str) else model
    with Generation(loaded, request) as generation:
        for _ in generation:
            pass
        complete = generation.request
        return Clip(generation.frames, complete.fps, provenance_of(loaded.card.name, complete))


@functools.lru_cache(maxsize=1)
def _load(name: str, device: str, dtype: str) -> LoadedModel:
    from reelgrid.models.loading import load_model

    return load_model(name, device=device, dtype=dtype)
