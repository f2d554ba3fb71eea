"""Samples from the model in training, in batches, and contact sheets of them.

For inspection during training only; the finished model is evaluated through the engine.
"""

import torch
from torch import Tensor

from reelgrid.models.embedded.codec import GroupCodec
from reelgrid.models.embedded.folder import build_scheduler
from reelgrid.train.flow_model import FlowModel


@torch.inference_mode()
def sample(
    model: FlowModel,
    prompts: list[str],
    *,
    noise: Tensor,
    num_steps: int = 6,
    guidance: float = 2.5,
    shift: float = 3.0,
) -> Tensor:
    """Return denoised latents in the scale of the codec.

    Args:
        model: The model in training.
        prompts: B prompts.
        noise: Initial latents, (B, z, T, h, w).
        num_steps: Denoising steps.
        guidance: Scale of classifier-free guidance; 1 is off.
        shift: Shift of the noise levels.
    """
    text = model.embed(prompts + [""] * len(prompts))
    scheduler = build_scheduler(shift)
    scheduler.set_timesteps(num_steps, device=noise.device)
    latents = noise
    for timestep in scheduler.timesteps:
        both = model.transformer(
            torch.cat([latents, latents]),
            timestep.float().expand(2 * len(latents)),
            text,
            return_dict=False,
        )[0]
        conditional, unconditional = both.float().chunk(2)
        velocity = unconditional + guidance * (conditional - unconditional)
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
    return latents * model.std[None, :, None, None, None] + model.mean[None, :, None, None, None]


@torch.inference_mode()
def to_pixels(codec: GroupCodec, latents: Tensor) -> Tensor:
    """Decode latents to pixels in [0, 1], (B, 3, T, H, W)."""
    return ((codec.decode(latents, return_dict=False)[0].float() + 1) / 2).clamp(0, 1)


def contact_sheet(videos: Tensor, num_columns: int = 6) -> Tensor:
    """Arrange clips (B, 3, T, H, W) as rows of frames: uint8 (B x H, columns x W, 3)."""
    frames = torch.linspace(0, videos.shape[2] - 1, num_columns).round().long()
    rows = [torch.cat(list(video[:, frames].unbind(1)), dim=-1) for video in videos]
    return (torch.cat(rows, dim=-2).permute(1, 2, 0) * 255).round().byte()
