"""Frames with known content, for the tests of this package."""

import numpy as np
from numpy.typing import NDArray

from reelgrid.media import Provenance

BALL = np.array([220, 60, 90])
GROUND = np.array([30, 60, 90])

PROVENANCE = Provenance(
    prompt='a "réd" ball & <more>\nrolls',
    negative_prompt="blur",
    seed=2**63 - 1,
    model="embedded",
    software="reelgrid 0.0.0",
    extra={"num_steps": 10, "size": "131x77"},
)


def rolling_ball(num_frames: int = 9, width: int = 131, height: int = 77) -> NDArray[np.uint8]:
    """A disc that moves right by 5 pixels a frame, on even ground; odd sides by default."""
    y, x = np.mgrid[0:height, 0:width]
    frames = [
        np.where(((x - 20 - 5 * t) ** 2 + (y - 38) ** 2 < 300)[..., None], BALL, GROUND)
        for t in range(num_frames)
    ]
    return np.stack(frames).astype(np.uint8)
