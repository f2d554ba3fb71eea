"""Synthetic clips that the embedded model is trained on: one shaded object moves through a scene.

A `SyntheticClip` is the full description; `render` draws it with signed distance functions, always
the same pixels. Lengths are fractions of the side of the frame, y points down, time is 0 to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Colour = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
Shape = Literal["ball", "box", "triangle", "star", "cross", "ring"]
Motion = Literal[
    "right", "left", "up", "down", "bounce", "circle", "sway", "grow", "shrink", "still"
]
Scene = Literal["studio", "meadow", "desert", "night", "snow"]
SizeWord = Literal["small", "medium", "large"]

COLOURS: dict[Colour, tuple[float, float, float]] = {
    "red": (0.86, 0.14, 0.13),
    "orange": (0.97, 0.50, 0.08),
    "yellow": (0.95, 0.86, 0.15),
    "green": (0.16, 0.66, 0.24),
    "cyan": (0.14, 0.78, 0.80),
    "blue": (0.16, 0.30, 0.90),
    "purple": (0.54, 0.20, 0.76),
    "pink": (0.97, 0.44, 0.70),
}
SHAPES: tuple[Shape, ...] = ("ball", "box", "triangle", "star", "cross", "ring")
MOTIONS: tuple[Motion, ...] = (
    "right", "left", "up", "down", "bounce", "circle", "sway", "grow", "shrink", "still",
)  # fmt: skip
# Sky at the top and at the horizon, floor at the horizon and at the bottom.
SCENES: dict[Scene, tuple[tuple[float, float, float], ...]] = {
    "studio": ((0.88, 0.88, 0.90), (0.78, 0.78, 0.80), (0.62, 0.62, 0.64), (0.74, 0.74, 0.76)),
    "meadow": ((0.60, 0.77, 0.92), (0.86, 0.92, 0.97), (0.55, 0.67, 0.45), (0.42, 0.55, 0.34)),
    "desert": ((0.95, 0.82, 0.66), (0.98, 0.93, 0.83), (0.85, 0.72, 0.53), (0.75, 0.60, 0.43)),
    "night": ((0.05, 0.06, 0.14), (0.17, 0.18, 0.32), (0.13, 0.14, 0.21), (0.08, 0.09, 0.14)),
    "snow": ((0.70, 0.78, 0.88), (0.84, 0.89, 0.94), (0.96, 0.97, 0.99), (0.87, 0.90, 0.95)),
}
RADII: dict[SizeWord, float] = {"small": 0.105, "medium": 0.145, "large": 0.19}

HORIZON = 0.62
FLOOR = 0.90


@dataclass(frozen=True, slots=True)
class SyntheticClip:
    """Full description of one clip.

    Attributes:
        offset: Displacement of the path, (x, y).
        reach: Length of the path relative to the usual one.
        light: Brightness of the frame relative to the usual one.
    """

    colour: Colour
    shape: Shape
    motion: Motion
    scene: Scene
    size: SizeWord
    offset: tuple[float, float] = (0.0, 0.0)
    reach: float = 1.0
    light: float = 1.0

    @property
    def combination(self) -> tuple[Colour, Shape, Motion]:
        """Colour, shape and motion: held out from training by combination."""
        return self.colour, self.shape, self.motion


def draw_clip(rng: torch.Generator) -> SyntheticClip:
    """Draw a clip with independent, uniform properties."""
    offset_x, offset_y, reach, light = (2 * torch.rand(4, generator=rng) - 1).tolist()
    return SyntheticClip(
        colour=_choose(tuple(COLOURS), rng),
        shape=_choose(SHAPES, rng),
        motion=_choose(MOTIONS, rng),
        scene=_choose(tuple(SCENES), rng),
        size=_choose(tuple(RADII), rng),
        offset=(0.05 * offset_x, 0.04 * offset_y),
        reach=1 + 0.12 * reach,
        light=1 + 0.04 * light,
    )


def is_held_out(combination: tuple[Colour, Shape, Motion]) -> bool:
    """Return whether a combination is held out: 48 of 480, spread over all values."""
    colour, shape, motion = combination
    c, s, m = list(COLOURS).index(colour), SHAPES.index(shape), MOTIONS.index(motion)
    return (m - (3 * c + 7 * s)) % 10 == 0


def trajectory(motion: Motion, time: Tensor, reach: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the path of the centre of an object and its scale.

    Args:
        motion: The motion.
        time: Times from 0 to 1, shape (..., T).
        reach: Relative length of the path; broadcasts against `time`.

    Returns:
        x, y and the scale of the radius, each of shape (..., T).
    """
    usual = torch.full_like(time * reach, 0.5)
    paths = _paths(usual, reach * (2 * time - 1), 2 * math.pi * time, reach)
    x, y, scale = paths[motion]
    return x, y, scale


def _paths(
    half: Tensor, line: Tensor, turn: Tensor, reach: Tensor
) -> dict[Motion, tuple[Tensor, Tensor, Tensor]]:
    """Return x, y and scale of every motion; `line` runs from -1 to 1, `turn` from 0 to 2 pi."""
    low, same = half + 0.02, torch.ones_like(half)
    return {
        "right": (half + 0.25 * line, low, same),
        "left": (half - 0.25 * line, low, same),
        "up": (half, half - 0.25 * line, same),
        "down": (half, half + 0.25 * line, same),
        "bounce": (half, 0.70 - 0.40 * reach * turn.sin().abs(), same),
        "circle": (half + 0.20 * reach * turn.sin(), half - 0.20 * reach * turn.cos(), same),
        "sway": (half + 0.24 * reach * turn.sin(), low, same),
        "grow": (half, low, 0.9 + 0.4 * line),
        "shrink": (half, low, 0.9 - 0.4 * line),
        "still": (half, low, same),
    }


def render(
    clips: Sequence[SyntheticClip],
    *,
    side: int,
    num_frames: int,
    frames: slice = slice(None),
    device: str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Render clips.

    Args:
        clips: B clips.
        side: Width and height in pixels.
        num_frames: Frames over the time of a clip, T; 1 is its first frame.
        frames: Frames to draw.
        device: Device to compute on.

    Returns:
        Pixels in [0, 1] of shape (B, 3, T, side, side), and the coverage of each pixel by the
        object, of shape (B, 1, T, side, side).
    """
    time = (torch.arange(num_frames, device=device) / max(num_frames - 1, 1))[frames]
    drawn = [_render_one(clip, side, time) for clip in clips]
    return torch.stack([p for p, _ in drawn]), torch.stack([a for _, a in drawn])


def _render_one(clip: SyntheticClip, side: int, time: Tensor) -> tuple[Tensor, Tensor]:
    grid = (torch.arange(side, device=time.device) + 0.5) / side
    x, y, scale = trajectory(clip.motion, time, torch.tensor(clip.reach, device=time.device))
    radius = (RADII[clip.size] * scale)[:, None, None]
    centre_x = (x + clip.offset[0])[:, None, None]
    centre_y = (y + clip.offset[1])[:, None, None]
    dx, dy = grid[None, None, :] - centre_x, grid[None, :, None] - centre_y
    distance = _signed_distance(clip.shape, dx, dy, radius)
    coverage = (0.5 - distance * side).clamp(0, 1)
    ground = background(clip.scene, side, device=time.device)[:, None]
    ground = ground * (1 - _shadow(grid, centre_x, centre_y, radius))
    paint = torch.tensor(COLOURS[clip.colour], device=time.device)[:, None, None, None]
    body = _shade(paint, clip.shape, dx, dy, distance, radius)
    frame = ground + coverage * (body - ground)
    return (frame * clip.light).clamp(0, 1), coverage[None]


def background(scene: Scene, side: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Render a scene without an object, shape (3, side, side)."""
    sky_top, sky_low, floor_far, floor_near = torch.tensor(SCENES[scene], device=device)[:, :, None]
    y = (torch.arange(side, device=device) + 0.5) / side
    sky = sky_top + (sky_low - sky_top) * (y / HORIZON).clamp(0, 1)
    floor = floor_far + (floor_near - floor_far) * ((y - HORIZON) / (1 - HORIZON)).clamp(0, 1)
    is_floor = ((y - HORIZON) * 40 + 0.5).clamp(0, 1)
    return (sky + (floor - sky) * is_floor)[:, :, None].expand(3, side, side)


def _signed_distance(shape: Shape, dx: Tensor, dy: Tensor, r: Tensor) -> Tensor:
    """Return the distance to the outline, negative inside (after iquilezles.org/articles/distfunctions2d)."""
    match shape:
        case "ball":
            return (dx * dx + dy * dy).sqrt() - r
        case "ring":
            return ((dx * dx + dy * dy).sqrt() - 0.74 * r).abs() - 0.26 * r
        case "box":
            return torch.maximum(dx.abs(), dy.abs()) - 0.88 * r
        case "cross":
            far, near = torch.maximum(dx.abs(), dy.abs()), torch.minimum(dx.abs(), dy.abs())
            return torch.maximum(far - 1.05 * r, near - 0.36 * r)
        case "triangle":
            side = 0.5 * math.sqrt(3) * dx.abs() - 0.5 * (dy + 0.1 * r)
            return torch.maximum(side, dy + 0.1 * r - 0.02 * r) - 0.62 * r
        case "star":
            return _star_distance(dx, dy + 0.02 * r, 1.25 * r)


def _star_distance(dx: Tensor, dy: Tensor, r: Tensor) -> Tensor:
    """Return the distance to a five-pointed star of outer radius `r`, by folding the plane."""
    angle = torch.atan2(dx, -dy)
    fold = 2 * math.pi / 5
    angle = (angle - fold * (angle / fold).round()).abs()
    length = (dx * dx + dy * dy).sqrt()
    px, py = length * angle.sin(), length * angle.cos()
    inner = 0.48
    tip_x, tip_y = inner * math.sin(fold / 2), inner * math.cos(fold / 2) - 1
    norm = math.hypot(tip_x, tip_y)
    return (-tip_y * px + tip_x * (py - r)) / norm


def _shade(
    paint: Tensor, shape: Shape, dx: Tensor, dy: Tensor, distance: Tensor, r: Tensor
) -> Tensor:
    """Shade with light from the upper left, darker edges, and a highlight on a ball."""
    lit = 1 - 0.22 * (0.6 * dx + 0.8 * dy) / r
    depth = (-distance / (0.3 * r)).clamp(0, 1)
    body = paint * (lit * (0.80 + 0.20 * depth))
    if shape == "ball":
        spot = ((dx + 0.34 * r) ** 2 + (dy + 0.38 * r) ** 2) / (0.28 * r) ** 2
        body = body + 0.45 * (-spot).exp() * (1 - body)
    return body


def _shadow(grid: Tensor, centre_x: Tensor, centre_y: Tensor, r: Tensor) -> Tensor:
    """Return the strength of the shadow on the floor, stronger for a lower object."""
    across = (grid[None, None, :] - centre_x) / (1.05 * r)
    along = (grid[None, :, None] - FLOOR) / (0.30 * r)
    strength = (0.25 + 0.35 * centre_y).clamp(0, 0.55)
    return strength * (-(across**2) - along**2).exp()


def _choose(values: Sequence[Any], rng: torch.Generator) -> Any:
    return values[int(torch.randint(len(values), (1,), generator=rng))]
