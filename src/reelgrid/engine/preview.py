"""Preview: an estimate of the finished clip's middle frame, from the predicted clean latents.

The model's own blocks after the loop run with a VAE wrapper that decodes one small latent frame, so
a preview costs the same whatever the clip's size.
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


def preview_image(pipeline: SteppedPipeline, request: CompleteRequest) -> np.ndarray:
    """Return an estimate of the finished middle frame, uint8 [h, w, 3].

    Raises:
        GenerationError: No step has been made yet.
    """
    if pipeline.block_state is None:
        raise GenerationError("there is nothing to preview before the first step")
    clean = predicted_clean(pipeline)
    forked = pipeline.fork({"latents": clean})
    pixels = request.size.width * request.size.height * request.num_frames
    if pixels > MAX_CLIP_PX:
        forked.components.vae = SmallDecode(forked.components.vae)
    forked.run_blocks()
    frames = frames_of(forked.state.values)
    return frames[len(frames) // 2]


def predicted_clean(pipeline: SteppedPipeline) -> torch.Tensor:
    """Return the clean latents that the last prediction of the network implies.

    With noise level s, flow matching has dx/ds = v and the variance-exploding form of the
    epsilon schedulers dx/ds = eps: in both, x(0) = x(s) - s * prediction (Karras et al. 2022,
    arXiv:2206.00364, eq. 3; Lipman et al. 2022, arXiv:2210.02747).
    """
    assert pipeline.block_state is not None
    latents: torch.Tensor = pipeline.block_state["latents"]
    prediction = pipeline.block_state["noise_pred"]
    sigma = _noise_level(pipeline)
    if prediction is None or prediction.shape != latents.shape or sigma is None:
        return latents
    return (latents.float() - sigma * prediction.float()).to(latents.dtype)


def _noise_level(pipeline: SteppedPipeline) -> float | None:
    scheduler = pipeline.components.scheduler
    sigmas, index = getattr(scheduler, "sigmas", None), getattr(scheduler, "step_index", None)
    if sigmas is None or index is None or index >= len(sigmas):
        return None
    return float(sigmas[index])


class SmallDecode:
    """A VAE that decodes only the middle latent frame, scaled down to a small side."""

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
