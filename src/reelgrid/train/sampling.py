"""Clips from a student in training, many at a time, and their pictures.

For looking and for curves only; the finished model is evaluated through the engine, like any
other.
"""

import torch
from torch import Tensor

from reelgrid.models.embedded.codec import GroupCodec
from reelgrid.models.embedded.folder import build_scheduler
from reelgrid.train.flow_model import FlowModel


@torch.inference_mode()
def sample(
    student: FlowModel,
    prompts: list[str],
    *,
    noise: Tensor,
    num_steps: int = 6,
    guidance: float = 2.5,
    shift: float = 3.0,
) -> Tensor:
    """Return denoised latents in the codec's own scale.

    Args:
        student: Whose transformer and text encoder are used.
        prompts: B of them.
        noise: Where to begin, (B, z, T, h, w).
        num_steps: Denoising steps.
        guidance: Classifier-free guidance, 1 is off.
        shift: Of the noise levels.
    """
    text = student.embed(prompts + [""] * len(prompts))
    scheduler = build_scheduler(shift)
    scheduler.set_timesteps(num_steps, device=noise.device)
    latents = noise
    for timestep in scheduler.timesteps:
        both = student.transformer(
            torch.cat([latents, latents]),
            timestep.float().expand(2 * len(latents)),
            text,
            return_dict=False,
        )[0]
        wanted, plain = both.float().chunk(2)
        velocity = plain + guidance * (wanted - plain)
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
    return (
        latents * student.std[None, :, None, None, None] + student.mean[None, :, None, None, None]
    )


@torch.inference_mode()
def to_pixels(codec: GroupCodec, latents: Tensor) -> Tensor:
    """Decode latents to pixels in [0, 1], (B, 3, T, H, W)."""
    return ((codec.decode(latents, return_dict=False)[0].float() + 1) / 2).clamp(0, 1)


def contact_sheet(videos: Tensor, num_columns: int = 6) -> Tensor:
    """Lay clips (B, 3, T, H, W) out as rows of frames: uint8 (B x H, columns x W, 3)."""
    frames = torch.linspace(0, videos.shape[2] - 1, num_columns).round().long()
    rows = [torch.cat(list(video[:, frames].unbind(1)), dim=-1) for video in videos]
    return (torch.cat(rows, dim=-2).permute(1, 2, 0) * 255).round().byte()
