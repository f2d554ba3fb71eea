"""Trains the codec (autoencoder) of the embedded model on groups of frames.

Squared error with sevenfold weight on the object and its surroundings, because the background would
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
from reelgrid.train.time_budget import TimeBudget, set_learning_rates

BATCH = 32  # groups
MUON_LR = 0.01
ADAM_LR = 1.5e-3
NOISE = 0.15  # of the latents
DECAY = 0.35  # share of the time over which the learning rate falls
OBJECT_WEIGHT = 6.0
SURROUNDINGS = 4  # pixels around the object that have its weight
LATENT_PENALTY = 2e-4  # on squared latents: without it they grow until the noise is negligible
ABSOLUTE = 0.02  # weight of the absolute error, for sharper edges

CODEC_FILE = "codec.pt"
FINETUNED = "decoder.pt"


class Groups(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless batches: groups in [-1, 1], (B, 12, H, W), and coverage by the object, (B, 1, H, W)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        torch.set_num_threads(1)
        worker = get_worker_info()
        rng = torch.Generator().manual_seed(self._seed * 1_000 + (worker.id if worker else 0))
        while True:
            yield draw_groups(BATCH, rng)


def draw_groups(num: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw one group of each of `num` clips: the first frame or four consecutive later frames."""
    drawn = [_draw_group(synthetic.draw_clip(rng), rng) for _ in range(num)]
    return torch.stack([g for g, _ in drawn]), torch.stack([c for _, c in drawn])


def _draw_group(clip: synthetic.SyntheticClip, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    last = int(torch.randint(NUM_FRAMES // GROUP + 1, (1,), generator=rng)) * GROUP
    frames = slice(max(0, last - GROUP + 1), last + 1)
    video, coverage = synthetic.render([clip], side=SIDE, num_frames=NUM_FRAMES, frames=frames)
    group = video[0].expand(-1, GROUP, -1, -1).flatten(0, 1)
    return group * 2 - 1, coverage[0, 0].amax(0, keepdim=True)


def codec_loss(codec: GroupCodec, groups: Tensor, coverage: Tensor) -> Tensor:
    """Return the weighted reconstruction error with noisy latents plus the latent penalty."""
    weight = 1 + OBJECT_WEIGHT * _around(coverage)
    with torch.autocast(groups.device.type, torch.bfloat16):
        latents = codec.encode_groups(groups)
        decoded = codec.decode_groups(latents + NOISE * torch.randn_like(latents))
    error = decoded.float() - groups
    fit = (weight * (error.square() + ABSOLUTE * error.abs())).mean()
    return fit + LATENT_PENALTY * latents.float().square().mean()


def _around(coverage: Tensor) -> Tensor:
    return F.max_pool2d(coverage, 2 * SURROUNDINGS + 1, stride=1, padding=SURROUNDINGS)


@dataclass(frozen=True)
class Fidelity:
    """Peak signal-to-noise ratio of reconstructions in dB: of whole frames and near the object."""

    frame_db: float
    object_db: float


@torch.inference_mode()
def measure_fidelity(codec: GroupCodec, *, num: int = 64, seed: int = 99) -> Fidelity:
    """Measure the fidelity on groups that were not trained on."""
    groups, coverage = draw_groups(num, torch.Generator().manual_seed(seed))
    groups, coverage = groups.to(codec.device), coverage.to(codec.device)
    with torch.autocast(groups.device.type, torch.bfloat16):
        decoded = codec.decode_groups(codec.encode_groups(groups)).float()
    error = (decoded - groups).square() / 4
    near = _around(coverage).expand_as(error)
    return Fidelity(_decibels(error.mean()), _decibels((error * near).sum() / near.sum()))


def _decibels(mean_square: Tensor) -> float:
    return -10 * math.log10(float(mean_square))


def train_codec(folder: Path, *, minutes: float, device: str, seed: int) -> Iterator[str]:
    """Train encoder and decoder; `minutes` is the budget of all calls on this folder."""
    torch.manual_seed(seed)
    codec = GroupCodec().to(device, memory_format=torch.channels_last)
    yield from _train(folder / CODEC_FILE, codec, minutes, seed)


def finetune_decoder(folder: Path, *, minutes: float, device: str, seed: int) -> Iterator[str]:
    """Fine-tune the decoder with a frozen encoder, so that the latents do not change."""
    codec = load_codec(folder).to(device)
    codec.decoder.requires_grad_(True)
    yield from _train(folder / FINETUNED, codec, minutes, seed + 1)


def _train(path: Path, codec: GroupCodec, minutes: float, seed: int) -> Iterator[str]:
    parts = optimisers(codec, muon_lr=MUON_LR, adam_lr=ADAM_LR)
    budget = TimeBudget(minutes, DECAY, warm_up=50)
    step = 0
    if path.exists():
        step, budget.spent_s = read_checkpoint(path, codec, parts)
    num_workers = max(1, (os.cpu_count() or 2) - 1)
    batches = iter(DataLoader(Groups(seed + step), batch_size=None, num_workers=num_workers))
    saved_s = time.monotonic()
    while not budget.is_over:
        with budget.running():
            set_learning_rates(parts, budget.learning_rate_factor(step))
            _advance(codec, parts, next(batches))
            step += 1
        if step % 50 == 0 or budget.is_over:
            yield _progress(path.stem, codec, step, budget)
        if time.monotonic() - saved_s > 60 or budget.is_over:
            write_checkpoint(path, codec, parts, step, budget.spent_s)
            saved_s = time.monotonic()


def _advance(
    codec: GroupCodec, parts: list[torch.optim.Optimizer], batch: tuple[Tensor, Tensor]
) -> None:
    groups, coverage = (part.to(codec.device) for part in batch)
    loss = codec_loss(codec, groups.to(memory_format=torch.channels_last), coverage)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([w for w in codec.parameters() if w.requires_grad], 1.0)
    for part in parts:
        part.step()
        part.zero_grad(set_to_none=True)


def _progress(name: str, codec: GroupCodec, step: int, budget: TimeBudget) -> str:
    seen = measure_fidelity(codec)
    return (
        f"{name} step {step}, {budget.spent_s / 60:.1f} of {budget.minutes:.1f} min, "
        f"{seen.frame_db:.1f} dB, object {seen.object_db:.1f} dB"
    )


def load_codec(folder: Path) -> GroupCodec:
    """Load the codec of a run, with the fine-tuned decoder if there is one."""
    path = folder / FINETUNED if (folder / FINETUNED).exists() else folder / CODEC_FILE
    codec = GroupCodec()
    codec.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["weights"])
    return codec.to(memory_format=torch.channels_last).eval().requires_grad_(False)
