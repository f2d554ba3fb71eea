"""Training the embedded model's transformer and text encoder together, by flow matching.

Velocity loss (Lipman et al. 2023, arXiv:2210.02747) as stock flow-match schedulers expect it:
x_s = (1 - s) x0 + s noise, the network predicts noise - x0. Noise levels are logit-normal,
shifted by 3, a tenth uniform (Esser et al. 2024, arXiv:2403.03206). Latents that the object
touches weigh more. A tenth of the steps are still images, a sixth of the clips are given their
first frame.

A loss curve as a picture that any browser opens, without a plotting library.
"""

import json
import math
import random
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import diffusers.models.transformers.transformer_wan as wan
import torch
from torch import Tensor

from reelgrid.train.checkpoint import read_checkpoint, write_checkpoint
from reelgrid.train.corpus import Batch, Corpus
from reelgrid.train.flow_model import FlowModel
from reelgrid.train.muon import optimisers
from reelgrid.train.time_budget import TimeBudget, set_rates

WIDTH, HEIGHT, MARGIN = 800, 400, 48  # pixels
SMOOTH = 5  # points of the running mean


def write_curve(path: Path, minutes: Sequence[float], losses: Sequence[float]) -> None:
    """Draw losses over minutes, on a logarithmic scale, as SVG; nothing for fewer than two."""
    if len(losses) < 2:
        return
    means = [_mean(losses[max(0, i - SMOOTH + 1) : i + 1]) for i in range(len(losses))]
    low, high = math.log(min(means)), math.log(max(means))
    span = max(high - low, 1e-9)
    points = " ".join(
        f"{MARGIN + (WIDTH - 2 * MARGIN) * minute / minutes[-1]:.1f},"
        f"{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (math.log(mean) - low) / span:.1f}"
        for minute, mean in zip(minutes, means, strict=True)
    )
    labels = (
        _label(MARGIN, HEIGHT - 16, "0"),
        _label(WIDTH - MARGIN, HEIGHT - 16, f"{minutes[-1]:.0f} min"),
        _label(8, HEIGHT - MARGIN, f"{math.exp(low):.3g}"),
        _label(8, MARGIN, f"{math.exp(high):.3g}"),
        _label(WIDTH / 2, 24, "loss, running mean, logarithmic"),
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(labels)}'
        f'<polyline points="{points}" fill="none" stroke="black" stroke-width="1.5"/></svg>\n',
        encoding="utf-8",
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-family="sans-serif" font-size="13">{text}</text>'


BATCH = 64  # clips; twice as many still images
MUON_LR = 0.01
ADAM_LR = 1.5e-3
DECAY = 0.4  # share of the time over which the learning rate falls
OBJECT_WEIGHT = 3.0  # extra, of a latent that the object covers
SHIFT = 3.0  # of the noise levels, in training and sampling
GIVEN = 1 / 6  # share of clips that are given their first frame
AVERAGE = 0.999  # of the weights, a step
SKIP = 0.05  # probability that a prompt leaves a property out
SILENT = 0.1  # probability of an empty prompt

NAME = "flow.pt"
CURVE = "curve.json"


def draw_noise_levels(num: int, rng: torch.Generator, shift: float = SHIFT) -> Tensor:
    """Noise levels in (0, 1): logit-normal, a tenth of them uniform, shifted towards noise."""
    normal = torch.randn(num, generator=rng).sigmoid()
    uniform = torch.rand(num, generator=rng)
    level = torch.where(torch.rand(num, generator=rng) < 0.1, uniform, normal)
    return shift * level / (1 + (shift - 1) * level)


def flow_loss(
    student: FlowModel, network: Callable[..., Any], batch: Batch, rng: torch.Generator
) -> Tensor:
    """Weighted mean squared error of the velocity on one batch."""
    device = student.mean.device
    clean = student.normalise(batch.latents.to(device))
    num = len(clean)
    level = draw_noise_levels(num, rng).to(device)
    noise = torch.randn(clean.shape, generator=rng).to(device)
    is_given = (torch.rand(num, generator=rng) < GIVEN).float().to(device)
    s = level[:, None, None, None, None]
    noisy = (1 - s) * clean + s * noise
    with torch.autocast(device.type, torch.bfloat16):
        text = student.embed(batch.prompts)
        seen = torch.cat([noisy, student.condition(clean, is_given)], dim=1)
        velocity = network(seen, level * 1000, text, return_dict=False)[0]
    weight = 1 + OBJECT_WEIGHT * batch.cover.to(device)[:, None]
    error = (velocity.float() - (noise - clean)).square() * weight
    return error.mean() / weight.mean()


@contextmanager
def plain_attention() -> Iterator[None]:
    """Spell attention out as products while tracing.

    On a CPU the fused kernel's backward pass takes 3 times as long at 80 tokens, and a step 1.6
    times (docs/log.md).
    """

    def attend(query: Tensor, key: Tensor, value: Tensor, **_: object) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (query, key, value))
        scores = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)
        return (scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v).transpose(1, 2)

    fused = wan.dispatch_attention_fn
    wan.dispatch_attention_fn = attend
    try:
        yield
    finally:
        wan.dispatch_attention_fn = fused


class FlowRun:
    """One training run: weights, their running average, optimisers and clock."""

    def __init__(self, folder: Path, student: FlowModel, *, minutes: float, seed: int) -> None:
        self.student = student
        self.clock = TimeBudget(minutes, DECAY, warm_up=100)
        self.step = 0
        self.curve: list[dict[str, float]] = []
        self._folder = folder
        self._seed = seed
        self._parts = optimisers(
            student,
            muon_lr=MUON_LR,
            adam_lr=ADAM_LR,
            plain=("shared", "embed_tokens", "relative_attention_bias", "scale_shift", "place"),
        )
        # Compiling takes a minute and halves a step; without a compiler it goes the slow way.
        can_compile = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
        network = student.transformer
        self._network = torch.compile(network) if can_compile else network
        self._compiled: set[bool] = set()
        if (folder / NAME).exists():
            self._take_up()
        else:
            self.average = {k: v.clone() for k, v in student.state_dict().items()}

    def train(self, corpus: Corpus) -> Iterator[str]:
        """Train until the time is spent; yield progress lines."""
        saved = time.monotonic()
        device = self.student.mean.device.type
        with plain_attention() if device == "cpu" else nullcontext():
            while not self.clock.is_over:
                loss = self._advance(corpus)
                if self.step % 50 == 0:
                    yield self._note(loss)
                if time.monotonic() - saved > 120:
                    self.save()
                    corpus.refresh()
                    saved = time.monotonic()
        self.save()

    def _advance(self, corpus: Corpus) -> float:
        is_still = self.step % 10 == 9
        words = random.Random(self._seed * 1_000_003 + self.step)  # noqa: S311  # no secret
        rng = torch.Generator().manual_seed(self._seed * 1_000_003 + self.step)
        num = BATCH * 2 if is_still else BATCH
        batch = corpus.draw(num, words, skip=SKIP, silent=SILENT)
        if is_still:
            batch = Batch(batch.latents[:, :, :1], batch.cover[:, :1], batch.prompts)
        is_compiling = is_still not in self._compiled
        self._compiled.add(is_still)
        spent_s = self.clock.spent_s
        with self.clock.running():
            set_rates(self._parts, self.clock.pace(self.step))
            with warnings.catch_warnings():
                # Wan keeps its norms in float32: under autocast that is meant.
                warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
                loss = flow_loss(self.student, self._network, batch, rng)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
            for part in self._parts:
                part.step()
                part.zero_grad(set_to_none=True)
            self._follow()
        if is_compiling:
            self.clock.spent_s = spent_s
        self.step += 1
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        for name, value in self.student.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def _note(self, loss: float) -> str:
        spent_s = round(self.clock.spent_s, 1)
        self.curve.append({"step": self.step, "s": spent_s, "loss": loss})
        (self._folder / CURVE).write_text(json.dumps(self.curve), encoding="utf-8")
        minutes = [row["s"] / 60 for row in self.curve]
        write_curve(self._folder / "curve.svg", minutes, [row["loss"] for row in self.curve])
        return (
            f"flow step {self.step}, {spent_s / 60:.1f} of {self.clock.minutes:.1f} min, "
            f"loss {loss:.4f}"
        )

    def save(self) -> None:
        """Write everything the run needs to go on, whole."""
        write_checkpoint(
            self._folder / NAME,
            self.student,
            self._parts,
            self.step,
            self.clock.spent_s,
            average=self.average,
            curve=self.curve,
        )

    def _take_up(self) -> None:
        path = self._folder / NAME
        self.step, self.clock.spent_s = read_checkpoint(path, self.student, self._parts)
        more = torch.load(path, weights_only=True, map_location=self.student.mean.device)
        self.average, self.curve = more["average"], more["curve"]
