"""What one request may ask of this server, whoever asks."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Caps of the server; a key may have lower ones of its own.

    Attributes:
        max_pixels: Width times height of one frame.
        max_frames: Frames of one clip.
        max_steps: Denoising steps of one request, all its images together.
        max_seconds: Seconds of work that one request may be estimated to take.
        max_queue_s: Seconds that a request may be estimated to wait.
        max_image_wait_s: Likewise for images, whose client holds a connection open.
        max_body_bytes: Of one request.
        max_listeners: Event streams at a time.
    """

    max_pixels: int = 1920 * 1088
    max_frames: int = 1_000
    max_steps: int = 1_000
    max_seconds: float = 86_400.0
    max_queue_s: float = 86_400.0
    max_image_wait_s: float = 300.0
    max_body_bytes: int = 32 * 2**20
    max_listeners: int = 1_000

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 < value < math.inf:
                raise ValueError(f"{each.name} is {value}: a limit is above zero")
