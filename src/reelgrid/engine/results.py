"""The finished frames in what a pipeline's last block hands over."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from reelgrid.errors import GenerationError

_NAMES = ("videos", "video", "images", "image_output")


def frames_of(values: Mapping[str, Any]) -> np.ndarray:
    """Return the frames as uint8 [T, H, W, 3]; a still image has T = 1.

    Raises:
        GenerationError: There are none, or they hold numbers that are no colours.
    """
    found = next((values[name] for name in _NAMES if values.get(name) is not None), None)
    if found is None:
        raise GenerationError("the model's last step handed over no frames")
    frames = np.asarray(found)
    if frames.ndim == 5:
        frames = frames[0]
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise GenerationError(f"the model handed over frames of shape {frames.shape}")
    if not np.isfinite(frames).all():
        raise GenerationError(
            "the frames are not numbers: try a lower guidance scale or a wider precision"
        )
    return np.rint(frames.clip(0, 1) * 255).astype(np.uint8)
