"""Training corpus: latents of synthetic clips on disk, drawn once and read many times.

One process appends with `extend_corpus` while another reads with `Corpus.draw`. Held-out combinations
are never drawn.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reelgrid.models.embedded.codec import GroupCodec, group_frames
from reelgrid.models.embedded.words import describe
from reelgrid.train import synthetic
from reelgrid.train.synthetic import SyntheticClip

SIDE = 128
NUM_FRAMES = 17
_PROPERTIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("colour", tuple(synthetic.COLOURS)),
    ("shape", synthetic.SHAPES),
    ("motion", synthetic.MOTIONS),
    ("scene", tuple(synthetic.SCENES)),
    ("size", tuple(synthetic.RADII)),
)


def draw_training_clip(rng: torch.Generator) -> SyntheticClip:
    """Draw a clip whose combination of colour, shape and motion is not held out."""
    while True:
        clip = synthetic.draw_clip(rng)
        if not synthetic.is_held_out(clip.combination):
            return clip


@torch.inference_mode()
def encode(clips: list[SyntheticClip], codec: GroupCodec) -> tuple[Tensor, Tensor]:
    """Draw and encode clips.

    Returns:
        Latents (B, z, T, h, w), not normalised, and the coverage of each by the object, (B, T, h, w).
    """
    video, coverage = synthetic.render(clips, side=SIDE, num_frames=NUM_FRAMES)
    with torch.autocast("cpu", torch.bfloat16, enabled=codec.dtype == torch.float32):
        latents = codec.encode(video * 2 - 1, return_dict=False)[0].mode().float()
    coverages = group_frames(coverage.expand(-1, 3, -1, -1, -1)).amax(2)
    return latents, F.max_pool2d(coverages, 16)


def _paths(folder: Path) -> tuple[Path, Path, Path, Path]:
    names = ("latents.f16", "cover.u8", "properties.u8", "count.json")
    return tuple(folder / name for name in names)  # type: ignore[return-value]


def extend_corpus(
    folder: Path, codec: GroupCodec, *, num_clips: int, seed: int, batch: int = 16
) -> None:
    """Append clips until the corpus holds `num_clips`; an interrupted call is continued."""
    folder.mkdir(parents=True, exist_ok=True)
    latents_path, cover_path, properties_path, count_path = _paths(folder)
    count = json.loads(count_path.read_text())["clips"] if count_path.exists() else 0
    rng = torch.Generator().manual_seed(seed + count)
    while count < num_clips:
        clips = [draw_training_clip(rng) for _ in range(batch)]
        latents, coverage = encode(clips, codec)
        rows = [[names.index(getattr(c, key)) for key, names in _PROPERTIES] for c in clips]
        _append(latents_path, latents.half().numpy(), count)
        _append(cover_path, (coverage * 255).byte().numpy(), count)
        _append(properties_path, np.array(rows, dtype=np.uint8), count)
        count += batch
        count_path.write_text(json.dumps({"clips": count, "shape": list(latents.shape[1:])}))


def _append(path: Path, rows: np.ndarray, count: int) -> None:
    """Write rows after the first `count` and overwrite what an interrupted call left."""
    path.touch()
    with path.open("r+b") as file:
        file.seek(count * rows[0].nbytes)
        file.write(rows.tobytes())


@dataclass(frozen=True)
class Batch:
    """A training batch: latents (B, z, T, h, w), cover (B, T, h, w) in [0, 1], prompts."""

    latents: Tensor
    coverage: Tensor
    prompts: list[str]


class Corpus:
    """Reader of the clips drawn so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.refresh()

    def refresh(self) -> None:
        """Read how many clips there are now.

        Raises:
            FileNotFoundError: There is no corpus yet.
        """
        latents, coverage, properties, count_path = _paths(self._folder)
        head = json.loads(count_path.read_text())
        self.num_clips: int = head["clips"]
        shape = tuple(head["shape"])
        self._latents = np.memmap(latents, np.float16, "r", shape=(self.num_clips, *shape))
        self._cover = np.memmap(coverage, np.uint8, "r", shape=(self.num_clips, *shape[1:]))
        self._properties = np.memmap(properties, np.uint8, "r", shape=(self.num_clips, 5))

    def draw(self, num: int, rng: random.Random, *, skip: float, drop_prompt: float) -> Batch:
        """Return random clips with newly drawn prompts.

        Args:
            num: Number of clips, B.
            rng: Source of clips and words.
            skip: Probability that a prompt leaves a property out.
            drop_prompt: Probability of an empty prompt, for classifier-free guidance.
        """
        rows = np.array([rng.randrange(self.num_clips) for _ in range(num)])
        prompts = [
            "" if rng.random() < drop_prompt else describe(**self._names(row), rng=rng, skip=skip)
            for row in self._properties[rows]
        ]
        return Batch(
            latents=torch.from_numpy(self._latents[rows]).float(),
            coverage=torch.from_numpy(self._cover[rows]).float() / 255,
            prompts=prompts,
        )

    @staticmethod
    def _names(row: np.ndarray) -> dict[str, str]:
        return {key: names[int(i)] for (key, names), i in zip(_PROPERTIES, row, strict=True)}

    def statistics(self, num: int = 4096) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each latent channel, shape (z,)."""
        latents = torch.from_numpy(self._latents[:num].astype(np.float32))
        return latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
