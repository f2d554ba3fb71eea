"""Workload of one generation (model, size, frames, steps, passes), and its FLOPs by formula.

A multiply-add counts as two FLOPs, as in the peak rates of GPUs. One forward of `N` layers of width `d` over `L` tokens of video and `m` of text, with `P` weights
that each token is multiplied with:

    joint    2 P (L + m) + 4 (L + m)^2 d N
    cross    2 P L + 4 L^2 d N + 4 L m d N
    linear   2 P L + 4 L d^2 N / heads + 4 L m d N     (linear attention, arXiv:2410.10629)

Two matrix products of `2 L^2 d` each make an attention, as in arXiv:2001.08361 section 2.1 for the
causal case. Codec, text encoder, modulation and normalisation are left out; they matter below about
four steps.
"""

import math
from dataclasses import dataclass

from reelgrid.errors import RequestError
from reelgrid.plan.facts.architectures import Architecture
from reelgrid.spec import MAX_FPS, MAX_STEPS, Size


@dataclass(frozen=True, slots=True)
class ForwardFlops:
    """FLOPs of one forward of one clip.

    Attributes:
        linear: FLOPs of matrix products with weights.
        attention: FLOPs of attention, the products of activations with each other.
    """

    linear: float
    attention: float

    @property
    def total(self) -> float:
        """FLOPs of both."""
        return self.linear + self.attention


def forward_flops(model: Architecture, size: Size, num_frames: int) -> ForwardFlops:
    """Return the FLOPs of one pass through the denoising network for one clip."""
    tokens, text = model.video_tokens(size, num_frames), model.text_tokens
    across = 4 * model.width * model.layers
    if model.attention == "joint":
        both = tokens + text
        return ForwardFlops(2.0 * model.weights_per_token * both, float(across * both * both))
    linear = 2.0 * model.weights_per_token * tokens
    to_text = across * tokens * text
    if model.attention == "linear":
        return ForwardFlops(linear, float(across * tokens * model.head_dim + to_text))
    return ForwardFlops(linear, float(across * tokens * tokens + to_text))


MAX_FRAMES = 100_000
MAX_FORWARDS_PER_STEP = 10
MAX_IMAGES = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One generation: the model, the size and number of frames, and the number of passes.

    Attributes:
        model: The model's architecture.
        size: Width and height in pixels.
        num_frames: Frames of the clip; 1 for an image.
        num_steps: Denoising steps, 1 to 1,000.
        forwards_per_step: Passes through the network per step; 2 with guidance.
        fps: Frames per second of the finished clip.
        num_images: Clips or images in one batch.
    """

    model: Architecture
    size: Size
    num_frames: int
    num_steps: int
    forwards_per_step: int
    fps: float
    num_images: int = 1

    def __post_init__(self) -> None:
        _check_range("steps", self.num_steps, 1, MAX_STEPS)
        _check_range("frames", self.num_frames, 1, MAX_FRAMES)
        _check_range("forwards per step", self.forwards_per_step, 1, MAX_FORWARDS_PER_STEP)
        _check_range("fps", self.fps, 0.1, MAX_FPS)
        _check_range("batch", self.num_images, 1, MAX_IMAGES)

    @property
    def num_forwards(self) -> int:
        """Passes through the network, of the whole batch at once."""
        return self.num_steps * self.forwards_per_step

    @property
    def clip_s(self) -> float:
        """Seconds of video, all clips of the batch together; 0 for images."""
        return 0.0 if self.model.kind == "image" else self.num_frames / self.fps * self.num_images

    @property
    def flops(self) -> float:
        """FLOPs of the denoising network over all steps, the whole batch."""
        forward = forward_flops(self.model, self.size, self.num_frames)
        return forward.total * self.num_forwards * self.num_images


def workload_of(
    model: Architecture,
    *,
    size: Size | None = None,
    num_frames: int | None = None,
    num_steps: int | None = None,
    forwards_per_step: int | None = None,
    fps: float | None = None,
    num_images: int = 1,
) -> Workload:
    """Return a workload, with the model's defaults where a value is `None`.

    Sizes and frames that the model cannot generate count as the next larger that it can;
    `check_supported` refuses them.

    Raises:
        RequestError: A number is out of range.
    """
    return Workload(
        model=model,
        size=size or model.size,
        num_frames=model.frames if num_frames is None else num_frames,
        num_steps=model.steps if num_steps is None else num_steps,
        forwards_per_step=(
            model.forwards_per_step if forwards_per_step is None else forwards_per_step
        ),
        fps=model.fps if fps is None else fps,
        num_images=num_images,
    )


def check_supported(workload: Workload) -> None:
    """Refuse a size or a number of frames that the model cannot generate.

    Raises:
        RequestError: It cannot; the message names the nearest that it can.
    """
    _check_size(workload.model, workload.size)
    _check_frames(workload.model, workload.num_frames)


def _check_size(model: Architecture, size: Size) -> None:
    """Refuse a size that is not made of whole tokens.

    Raises:
        RequestError: It is not; the message names the nearest that is.
    """
    multiple = model.pixel_multiple
    if size.width % multiple == 0 == size.height % multiple:
        return
    near = "x".join(
        str(max(multiple, round(side / multiple) * multiple)) for side in (size.width, size.height)
    )
    raise RequestError(
        f"{model.name} cannot make {size}: width and height are multiples of {multiple}; "
        f"nearest: {near}",
        param="size",
    )


def _check_frames(model: Architecture, num_frames: int) -> None:
    """Refuse frames that are no whole chunks of latents.

    Raises:
        RequestError: They are not; the message names the nearest that are.
    """
    if model.kind == "image":
        if num_frames != 1:
            raise RequestError(f"{model.name} makes single images, not {num_frames} frames")
        return
    apart = 1 if model.first_frame_apart else 0
    if num_frames >= 1 and (num_frames - apart) % model.vae_time == 0:
        return
    below = max(0, (num_frames - apart) // model.vae_time) * model.vae_time + apart
    rule = f"a multiple of {model.vae_time}" + (" plus 1" if apart else "")
    nearest = ", ".join(str(each) for each in (below, below + model.vae_time) if each > 0)
    raise RequestError(
        f"{model.name} cannot make {num_frames} frames: {rule}; nearest: {nearest}", param="frames"
    )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise RequestError(
            f"{name} {value:g} is out of range: {low:g} to {high:,g}", param=name.split()[0]
        )
