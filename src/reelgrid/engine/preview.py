"""An estimate of the finished clip's middle frame, from the predicted clean latents.

Not a decode of the clip: the model's own blocks after the loop run with a stand-in for the VAE
that decodes one small latent frame, so it costs the same whatever the clip's size.
"""

from typing import Any

import numpy as np
import torch

from reelgrid.engine.pipeline_io import frames_of
from reelgrid.engine.stepped_pipeline import SteppedPipeline
from reelgrid.errors import GenerationError
from reelgrid.spec import CompleteRequest

MAX_LATENT_SIDE = 16
MAX_CLIP_PX = 2**19  # a clip this small is decoded whole

_EPSILON = 1e-6


def preview_image(passage: SteppedPipeline, request: CompleteRequest) -> np.ndarray:
    """Return the middle frame as it would end from here, uint8 [h, w, 3].

    Raises:
        GenerationError: No step has been made yet.
    """
    if passage.block_state is None:
        raise GenerationError("there is nothing to preview before the first step")
    clean = predicted_clean(passage)
    fork = passage.fork({"latents": clean})
    pixels = request.size.width * request.size.height * request.num_frames
    if pixels > MAX_CLIP_PX:
        fork.components.vae = SmallDecode(fork.components.vae)
    fork.run_blocks()
    frames = frames_of(fork.state.values)
    return frames[len(frames) // 2]


def predicted_clean(passage: SteppedPipeline) -> torch.Tensor:
    """Return where the latents would end if the last prediction held to the end.

    With noise level s, flow matching has dx/ds = v and the variance-exploding form of the
    epsilon schedulers dx/ds = eps: in both, x(0) = x(s) - s * prediction (Karras et al. 2022,
    arXiv:2206.00364, eq. 3; Lipman et al. 2022, arXiv:2210.02747).
    """
    assert passage.block_state is not None
    latents: torch.Tensor = passage.block_state["latents"]
    prediction = passage.block_state["noise_pred"]
    sigma = _noise_level(passage)
    if prediction is None or prediction.shape != latents.shape or sigma is None:
        return latents
    return (latents.float() - sigma * prediction.float()).to(latents.dtype)


def _noise_level(passage: SteppedPipeline) -> float | None:
    scheduler = passage.components.scheduler
    sigmas, index = getattr(scheduler, "sigmas", None), getattr(scheduler, "step_index", None)
    if sigmas is None or index is None or index >= len(sigmas):
        return None
    return float(sigmas[index])


class SmallDecode:
    """Stands in for a VAE: decodes the middle latent frame only, scaled down to a small side."""

    def __init__(self, vae: Any) -> None:  # diffusers is untyped
        self._vae = vae

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vae, name)

    def decode(self, latents: torch.Tensor, *args: object, **kwargs: object) -> Any:
        """Decode a small version of `latents`, [B, C, T, h, w] or [B, C, h, w]."""
        return self._vae.decode(_small(latents), *args, **kwargs)


def _small(latents: torch.Tensor) -> torch.Tensor:
    if latents.dim() == 5:
        middle = latents.shape[2] // 2
        latents = latents[:, :, middle : middle + 1]
    shrink = max(1.0, max(latents.shape[-2:]) / MAX_LATENT_SIDE)
    side = [max(1, round(n / shrink)) for n in latents.shape[-2:]]
    shape = [latents.shape[2], *side] if latents.dim() == 5 else side
    return torch.nn.functional.interpolate(latents.float(), size=shape, mode="area").to(
        latents.dtype
    )
