"""Training the embedded model's codec: to give groups of frames back from few numbers.

Squared error, with the object and its surroundings weighted seven times: the background would
dominate otherwise. Noise on the latents keeps them smooth enough to be denoised later.
"""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from reelgrid.models.embedded.codec import GROUP, GroupCodec
from reelgrid.train import synthetic
from reelgrid.train.checkpoint import read_checkpoint, write_checkpoint
from reelgrid.train.corpus import NUM_FRAMES, SIDE
from reelgrid.train.muon import optimisers
from reelgrid.train.time_budget import TimeBudget, set_rates

BATCH = 32  # groups
MUON_LR = 0.01
ADAM_LR = 1.5e-3
NOISE = 0.15  # of the latents
DECAY = 0.35  # share of the time over which the learning rate falls
OBJECT_WEIGHT = 6.0
SURROUNDINGS = 4  # pixels around the object that count as it
LATENT_PENALTY = 2e-4  # on the latents' square: without it they grow until the noise is nothing
ABSOLUTE = 0.02  # share of absolute error: sharper edges

CODEC = "codec.pt"
POLISHED = "decoder.pt"


class Groups(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless batches of groups in [-1, 1], (B, 12, H, W), and the object's cover, (B, 1, H, W)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        torch.set_num_threads(1)
        worker = get_worker_info()
        rng = torch.Generator().manual_seed(self._seed * 1_000 + (worker.id if worker else 0))
        while True:
            yield draw_groups(BATCH, rng)


def draw_groups(num: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw one group of each of `num` clips: the first frame or any four behind it."""
    drawn = [_draw_group(synthetic.draw_clip(rng), rng) for _ in range(num)]
    return torch.stack([g for g, _ in drawn]), torch.stack([c for _, c in drawn])


def _draw_group(clip: synthetic.SyntheticClip, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    last = int(torch.randint(NUM_FRAMES // GROUP + 1, (1,), generator=rng)) * GROUP
    frames = slice(max(0, last - GROUP + 1), last + 1)
    video, cover = synthetic.render([clip], side=SIDE, num_frames=NUM_FRAMES, frames=frames)
    group = video[0].expand(-1, GROUP, -1, -1).flatten(0, 1)
    return group * 2 - 1, cover[0, 0].amax(0, keepdim=True)


def codec_loss(codec: GroupCodec, groups: Tensor, cover: Tensor) -> Tensor:
    """Weighted error of one batch after a noisy round trip, and the penalty on its latents."""
    weight = 1 + OBJECT_WEIGHT * _around(cover)
    with torch.autocast(groups.device.type, torch.bfloat16):
        latents = codec.encode_groups(groups)
        given_back = codec.decode_groups(latents + NOISE * torch.randn_like(latents))
    error = given_back.float() - groups
    fit = (weight * (error.square() + ABSOLUTE * error.abs())).mean()
    return fit + LATENT_PENALTY * latents.float().square().mean()


def _around(cover: Tensor) -> Tensor:
    return F.max_pool2d(cover, 2 * SURROUNDINGS + 1, stride=1, padding=SURROUNDINGS)


@dataclass(frozen=True)
class Fidelity:
    """Peak signal-to-noise ratio of round trips in dB: of whole frames, and around the object."""

    frame_db: float
    object_db: float


@torch.inference_mode()
def measure_fidelity(codec: GroupCodec, *, num: int = 64, seed: int = 99) -> Fidelity:
    """Measure on groups that were not trained on."""
    groups, cover = draw_groups(num, torch.Generator().manual_seed(seed))
    groups, cover = groups.to(codec.device), cover.to(codec.device)
    with torch.autocast(groups.device.type, torch.bfloat16):
        given_back = codec.decode_groups(codec.encode_groups(groups)).float()
    error = (given_back - groups).square() / 4
    near = _around(cover).expand_as(error)
    return Fidelity(_decibels(error.mean()), _decibels((error * near).sum() / near.sum()))


def _decibels(mean_square: Tensor) -> float:
    return -10 * math.log10(float(mean_square))


def train_codec(folder: Path, *, minutes: float, device: str, seed: int) -> Iterator[str]:
    """Train both halves until the minutes are spent, in this call and those before it."""
    torch.manual_seed(seed)
    codec = GroupCodec().to(device, memory_format=torch.channels_last)
    yield from _train(folder / CODEC, codec, minutes, seed)


def polish_decoder(folder: Path, *, minutes: float, device: str, seed: int) -> Iterator[str]:
    """Train the decoder on, with latents as they are: whatever was learned on them holds."""
    codec = load_codec(folder).to(device)
    codec.decoder.requires_grad_(True)
    yield from _train(folder / POLISHED, codec, minutes, seed + 1)


def _train(path: Path, codec: GroupCodec, minutes: float, seed: int) -> Iterator[str]:
    parts = optimisers(codec, muon_lr=MUON_LR, adam_lr=ADAM_LR)
    clock = TimeBudget(minutes, DECAY, warm_up=50)
    step = 0
    if path.exists():
        step, clock.spent_s = read_checkpoint(path, codec, parts)
    num_workers = max(1, (os.cpu_count() or 2) - 1)
    batches = iter(DataLoader(Groups(seed + step), batch_size=None, num_workers=num_workers))
    saved = time.monotonic()
    while not clock.is_over:
        with clock.running():
            set_rates(parts, clock.pace(step))
            _advance(codec, parts, next(batches))
            step += 1
        if step % 50 == 0 or clock.is_over:
            yield _progress(path.stem, codec, step, clock)
        if time.monotonic() - saved > 60 or clock.is_over:
            write_checkpoint(path, codec, parts, step, clock.spent_s)
            saved = time.monotonic()


def _advance(
    codec: GroupCodec, parts: list[torch.optim.Optimizer], batch: tuple[Tensor, Tensor]
) -> None:
    groups, cover = (part.to(codec.device) for part in batch)
    loss = codec_loss(codec, groups.to(memory_format=torch.channels_last), cover)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([w for w in codec.parameters() if w.requires_grad], 1.0)
    for part in parts:
        part.step()
        part.zero_grad(set_to_none=True)


def _progress(name: str, codec: GroupCodec, step: int, clock: TimeBudget) -> str:
    seen = measure_fidelity(codec)
    return (
        f"{name} step {step}, {clock.spent_s / 60:.1f} of {clock.minutes:.1f} min, "
        f"{seen.frame_db:.1f} dB, object {seen.object_db:.1f} dB"
    )


def load_codec(folder: Path) -> GroupCodec:
    """Load the codec of a run, with its decoder polished if that has been done."""
    path = folder / POLISHED if (folder / POLISHED).exists() else folder / CODEC
    codec = GroupCodec()
    codec.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["weights"])
    return codec.to(memory_format=torch.channels_last).eval().requires_grad_(False)
