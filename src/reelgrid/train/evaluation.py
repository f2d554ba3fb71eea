"""How well a model does what a prompt says, measured on clips of the world.

Prompts whose colour, shape and motion never occurred together in training; the clips are made by
the engine at the model's defaults, like anybody's, and read by `detection`.
"""

import math
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from reelgrid.engine.generation import Generation
from reelgrid.models.embedded.words import describe
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import Request
from reelgrid.train import detection, synthetic

Task = Literal["video", "image", "first-frame"]
PROPERTIES: dict[Task, tuple[str, ...]] = {
    "video": ("colour", "shape", "motion", "scene"),
    "image": ("colour", "shape", "scene"),
    "first-frame": ("colour", "shape", "motion", "scene"),
}
_SIDE = 128  # pixels at which clips are read


@dataclass(frozen=True, slots=True)
class Score:
    """Share of clips that show a property, with its 95 % interval (Wilson 1927)."""

    name: str
    share: float
    low: float
    high: float


def evaluate(
    model: LoadedModel,
    *,
    task: Task = "video",
    num_prompts: int = 500,
    seed: int = 0,
    num_steps: int | None = None,
    guidance_scale: float | None = None,
    on_clip: Callable[[int], None] = lambda _: None,
) -> list[Score]:
    """Make clips of unseen combinations and read them.

    Args:
        model: Any model that speaks this world.
        task: A clip, a still image, or a clip from a given first frame.
        num_prompts: How many.
        seed: Of prompts and noise.
        num_steps: Denoising steps; the model's default where none.
        guidance_scale: Guidance; the model's default where none.
        on_clip: Called with the number of clips read so far.

    Returns:
        A score for each property, and `all` of them together.
    """
    words = random.Random(seed)  # noqa: S311  # no secret
    rows = []
    for number, clip in enumerate(held_out_clips(num_prompts, seed)):
        request = Request(
            prompt=_prompt_of(clip, words),
            num_frames=1 if task == "image" else None,
            num_steps=num_steps,
            guidance_scale=guidance_scale,
            seed=seed + number,
        )
        frames = (
            _make_from(model, clip, request) if task == "first-frame" else _make(model, request)
        )
        seen = detection.read(_as_video(frames)).matches(clip)
        rows.append({name: seen[name] for name in PROPERTIES[task]})
        on_clip(number + 1)
    return [_score(name, share, num_prompts) for name, share in detection.mean_score(rows).items()]


def held_out_clips(num: int, seed: int) -> list[synthetic.SyntheticClip]:
    """Draw clips whose colour, shape and motion were never trained on together."""
    rng = torch.Generator().manual_seed(seed)
    clips: list[synthetic.SyntheticClip] = []
    while len(clips) < num:
        clip = synthetic.draw_clip(rng)
        if synthetic.is_held_out(clip.triple):
            clips.append(clip)
    return clips


def _prompt_of(clip: synthetic.SyntheticClip, words: random.Random) -> str:
    return describe(
        colour=clip.colour,
        shape=clip.shape,
        motion=clip.motion,
        scene=clip.scene,
        size=clip.size,
        rng=words,
    )


def _make(model: LoadedModel, request: Request) -> Tensor:
    with Generation(model, request) as generation:
        for _ in generation:
            pass
        return torch.from_numpy(generation.frames.copy())


def _make_from(model: LoadedModel, clip: synthetic.SyntheticClip, request: Request) -> Tensor:
    """Make a clip that begins with the first frame that the renderer would draw."""
    pixels = synthetic.render([clip], side=_SIDE, num_frames=1)[0][0, :, 0]
    image = (pixels.permute(1, 2, 0) * 255).round().byte().numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "first.png"
        Image.fromarray(image).save(path)
        return _make(model, request.with_(first_frame=path))


def _as_video(frames: Tensor) -> Tensor:
    """Turn frames (T, H, W, 3) of bytes into (3, T, side, side) in [0, 1]."""
    video = frames.permute(3, 0, 1, 2).float() / 255
    if video.shape[-2:] == (_SIDE, _SIDE):
        return video
    return F.interpolate(video.transpose(0, 1), (_SIDE, _SIDE), mode="area").transpose(0, 1)


def _score(name: str, share: float, num: int, z: float = 1.96) -> Score:
    centre = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z / (1 + z * z / num) * math.sqrt(share * (1 - share) / num + z * z / (4 * num * num))
    return Score(name, share, max(0.0, centre - half), min(1.0, centre + half))
