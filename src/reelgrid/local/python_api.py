"""`reelgrid.generate`: a prompt to frames in one call, for Python."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reelgrid.engine.generation import Generation
from reelgrid.local.request_provenance import provenance_of
from reelgrid.media import Provenance, write_clip
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import Request, Size


@dataclass(frozen=True, slots=True)
class Clip:
    """Finished frames, RGB [T, H, W, 3], and how they came to be."""

    frames: NDArray[np.uint8]
    fps: float
    provenance: Provenance

    def save(self, path: str | Path) -> Path:
        """Return `path`, now holding the clip in the format of its suffix.

        Raises:
            RequestError: The path cannot take it.
            GenerationError: The disk is full or refuses.
        """
        write_clip(self.frames, Path(path), fps=self.fps, provenance=self.provenance)
        return Path(path)


def generate(
    prompt: str,
    *,
    model: str | LoadedModel = "embedded",
    negative_prompt: str | None = None,
    size: Size | str | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
    num_steps: int | None = None,
    guidance_scale: float | None = None,
    seed: int = 0,
    first_frame: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> Clip:
    """Return the clip of a prompt; what is left out is the model's own default.

    Args:
        prompt: What is to be seen.
        model: Catalogue name, hub id, local folder, or a model that is loaded already; the last
            named one stays loaded for the next call.
        negative_prompt: What is not to be seen.
        size: Such as `832x480`.
        num_frames: 1 is a still image.
        fps: Frames a second.
        num_steps: Denoising steps.
        guidance_scale: Classifier-free guidance; 1 is off.
        seed: Of the initial noise; the same seed gives the same clip on the same machine.
        first_frame: An image file that the clip begins with.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `auto`, `float32`, `bfloat16`, `float16`.

    Raises:
        RequestError: The request cannot be carried out; the message says what would be right.
        ModelError: The model will not load.
        GenerationError: It began and failed.
    """
    request = Request(
        prompt=prompt,
        negative_prompt=negative_prompt,
        size=Size.parse(size) if isinstance(size, str) else size,
        num_frames=num_frames,
        fps=fps,
        num_steps=num_steps,
        guidance_scale=guidance_scale,
        seed=seed,
        first_frame=Path(first_frame) if first_frame else None,
    )
    loaded = _load(model, device, dtype) if isinstance(model, str) else model
    with Generation(loaded, request) as generation:
        for _ in generation:
            pass
        complete = generation.request
        assert complete.fps is not None
        return Clip(generation.frames, complete.fps, provenance_of(loaded.card.name, complete))


@functools.lru_cache(maxsize=1)
def _load(name: str, device: str, dtype: str) -> LoadedModel:
    from reelgrid.models.loading import load_model

    return load_model(name, device=device, dtype=dtype)
