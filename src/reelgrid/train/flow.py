"""Trains the transformer and text encoder of the embedded model together, by flow matching.

Velocity loss (Lipman et al. 2023, arXiv:2210.02747) as stock flow-match schedulers expect it:
x_s = (1 - s) x0 + s noise, the network predicts noise - x0. Noise levels are logit-normal,
shifted by 3, a tenth uniform (Esser et al. 2024, arXiv:2403.03206). Latents covered by the object
have a larger weight. A tenth of the steps train on still images; a sixth of the clips are
conditioned on their first frame.
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
from reelgrid.train.time_budget import TimeBudget, set_learning_rates

BATCH = 64  # clips; twice as many still images
MUON_LR = 0.01
ADAM_LR = 1.5e-3
DECAY = 0.4  # share of the time over which the learning rate falls
OBJECT_WEIGHT = 3.0  # extra weight of a latent covered by the object
SHIFT = 3.0  # of the noise levels, in training and sampling
FIRST_FRAME_SHARE = 1 / 6  # share of clips conditioned on their first frame
AVERAGE_DECAY = 0.999  # of the moving average of the weights, per step
PROPERTY_DROPOUT = 0.05  # probability of leaving a property out of a prompt
PROMPT_DROPOUT = 0.1  # probability of an empty prompt

WIDTH, HEIGHT, MARGIN = 800, 400, 48  # pixels
SMOOTH = 5  # points of the running mean

CHECKPOINT_FILE = "flow.pt"
CURVE_FILE = "curve.json"


def draw_noise_levels(num: int, rng: torch.Generator, shift: float = SHIFT) -> Tensor:
    """Draw noise levels in (0, 1): logit-normal, a tenth uniform, shifted towards noise."""
    normal = torch.randn(num, generator=rng).sigmoid()
    uniform = torch.rand(num, generator=rng)
    level = torch.where(torch.rand(num, generator=rng) < 0.1, uniform, normal)
    return shift * level / (1 + (shift - 1) * level)


def flow_loss(
    model: FlowModel, network: Callable[..., Any], batch: Batch, rng: torch.Generator
) -> Tensor:
    """Return the weighted mean squared error of the velocity on one batch."""
    device = model.mean.device
    clean = model.normalise(batch.latents.to(device))
    num = len(clean)
    level = draw_noise_levels(num, rng).to(device)
    noise = torch.randn(clean.shape, generator=rng).to(device)
    is_given = (torch.rand(num, generator=rng) < FIRST_FRAME_SHARE).float().to(device)
    s = level[:, None, None, None, None]
    noisy = (1 - s) * clean + s * noise
    with torch.autocast(device.type, torch.bfloat16):
        text = model.embed(batch.prompts)
        inputs = torch.cat([noisy, model.condition(clean, is_given)], dim=1)
        velocity = network(inputs, level * 1000, text, return_dict=False)[0]
    weight = 1 + OBJECT_WEIGHT * batch.coverage.to(device)[:, None]
    error = (velocity.float() - (noise - clean)).square() * weight
    return error.mean() / weight.mean()


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Replace fused attention by matrix products while tracing.

    On a CPU the backward pass of the fused kernel takes 3 times as long at 80 tokens, and a step
    1.6 times (docs/log.md).
    """

    def attention(query: Tensor, key: Tensor, value: Tensor, **_: object) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (query, key, value))
        scores = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)
        return (scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v).transpose(1, 2)

    fused = wan.dispatch_attention_fn
    wan.dispatch_attention_fn = attention
    try:
        yield
    finally:
        wan.dispatch_attention_fn = fused


class FlowRun:
    """One training run: weights, their moving average, optimisers and time budget."""

    def __init__(self, folder: Path, model: FlowModel, *, minutes: float, seed: int) -> None:
        self.model = model
        self.budget = TimeBudget(minutes, DECAY, warm_up=100)
        self.step = 0
        self.curve: list[dict[str, float]] = []
        self._folder = folder
        self._seed = seed
        self._parts = optimisers(
            model,
            muon_lr=MUON_LR,
            adam_lr=ADAM_LR,
            plain=("shared", "embed_tokens", "relative_attention_bias", "scale_shift", "place"),
        )
        # Compiling takes a minute and halves the time of a step.
        can_compile = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
        network = model.transformer
        self._network = torch.compile(network) if can_compile else network
        self._compiled: set[bool] = set()
        if (folder / CHECKPOINT_FILE).exists():
            self._restore()
        else:
            self.average = {k: v.clone() for k, v in model.state_dict().items()}

    def train(self, corpus: Corpus) -> Iterator[str]:
        """Train until the time budget is spent; yield lines of progress."""
        saved_s = time.monotonic()
        device = self.model.mean.device.type
        with unfused_attention() if device == "cpu" else nullcontext():
            while not self.budget.is_over:
                loss = self._advance(corpus)
                if self.step % 50 == 0:
                    yield self._record_loss(loss)
                if time.monotonic() - saved_s > 120:
                    self.save()
                    corpus.refresh()
                    saved_s = time.monotonic()
        self.save()

    def _advance(self, corpus: Corpus) -> float:
        is_still = self.step % 10 == 9
        words = random.Random(self._seed * 1_000_003 + self.step)  # noqa: S311  # no secret
        rng = torch.Generator().manual_seed(self._seed * 1_000_003 + self.step)
        num = BATCH * 2 if is_still else BATCH
        batch = corpus.draw(num, words, skip=PROPERTY_DROPOUT, drop_prompt=PROMPT_DROPOUT)
        if is_still:
            batch = Batch(batch.latents[:, :, :1], batch.coverage[:, :1], batch.prompts)
        is_compiling = is_still not in self._compiled
        self._compiled.add(is_still)
        spent_s = self.budget.spent_s
        with self.budget.running():
            set_learning_rates(self._parts, self.budget.learning_rate_factor(self.step))
            with warnings.catch_warnings():
                # Wan keeps its norms in float32 on purpose, also under autocast.
                warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
                loss = flow_loss(self.model, self._network, batch, rng)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for part in self._parts:
                part.step()
                part.zero_grad(set_to_none=True)
            self._update_average()
        if is_compiling:
            self.budget.spent_s = spent_s
        self.step += 1
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        keep = min(AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def _record_loss(self, loss: float) -> str:
        spent_s = round(self.budget.spent_s, 1)
        self.curve.append({"step": self.step, "s": spent_s, "loss": loss})
        (self._folder / CURVE_FILE).write_text(json.dumps(self.curve), encoding="utf-8")
        minutes = [row["s"] / 60 for row in self.curve]
        write_curve(self._folder / "curve.svg", minutes, [row["loss"] for row in self.curve])
        return (
            f"flow step {self.step}, {spent_s / 60:.1f} of {self.budget.minutes:.1f} min, "
            f"loss {loss:.4f}"
        )

    def save(self) -> None:
        """Write a checkpoint."""
        write_checkpoint(
            self._folder / CHECKPOINT_FILE,
            self.model,
            self._parts,
            self.step,
            self.budget.spent_s,
            average=self.average,
            curve=self.curve,
        )

    def _restore(self) -> None:
        path = self._folder / CHECKPOINT_FILE
        self.step, self.budget.spent_s = read_checkpoint(path, self.model, self._parts)
        more = torch.load(path, weights_only=True, map_location=self.model.mean.device)
        self.average, self.curve = more["average"], more["curve"]


def write_curve(path: Path, minutes: Sequence[float], losses: Sequence[float]) -> None:
    """Write the loss curve as SVG, logarithmic over minutes; nothing for fewer than two losses."""
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
