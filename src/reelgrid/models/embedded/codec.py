"""The embedded model's codec: 4 frames of 128x128 pixels become 8x8 tokens of 24 numbers.

Time is folded into channels, so the network is two-dimensional: the first frame is a group of its own
(repeated), every further 4 frames are a group, and groups are independent. Thus 4n+1 frames, a still
image and a given first frame are the same case. It has no normalisation layers and does not sample
its latents: with either it learned worse.
"""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

GROUP = 4  # frames
FOLD = 8  # pixels of a side folded into channels


class Latents:
    """Latents without randomness, in the form of diffusers' distributions."""

    def __init__(self, latents: Tensor) -> None:
        self.latents = latents

    def mode(self) -> Tensor:
        """Return the latents."""
        return self.latents

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return the latents: they are not random, whatever the generator."""
        del generator
        return self.latents


class ResidualBlock(nn.Module):
    """x + conv1x1(silu(conv3x3(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.project = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.project.weight)
        assert self.project.bias is not None
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (N, C, H, W)."""
        return x + self.project(F.silu(self.mix(x)))


class GroupCodec(ModelMixin, ConfigMixin):
    """Encoder and decoder between video (B, 3, 4n+1, H, W) in [-1, 1] and latents.

    Latents are (B, z_dim, n+1, H/16, W/16); their mean and deviation per channel are in the
    configuration, where diffusers' blocks look for them.
    """

    @register_to_config
    def __init__(
        self,
        z_dim: int = 24,
        wide: int = 192,
        deep: int = 256,
        encoder_blocks: tuple[int, int] = (1, 2),
        decoder_blocks: tuple[int, int] = (3, 3),
        latents_mean: tuple[float, ...] = (0.0,) * 24,
        latents_std: tuple[float, ...] = (1.0,) * 24,
    ) -> None:
        super().__init__()
        pixels = 3 * GROUP * FOLD * FOLD
        self.temperal_downsample = [False, False, True, True]  # sic: read by diffusers' blocks
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(FOLD),
            nn.Conv2d(pixels, wide, 1),
            *(ResidualBlock(wide) for _ in range(encoder_blocks[0])),
            nn.Conv2d(wide, deep, 2, stride=2),
            *(ResidualBlock(deep) for _ in range(encoder_blocks[1])),
            nn.Conv2d(deep, z_dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(z_dim, deep, 3, padding=1),
            *(ResidualBlock(deep) for _ in range(decoder_blocks[0])),
            nn.Conv2d(deep, 4 * wide, 1),
            nn.PixelShuffle(2),
            *(ResidualBlock(wide) for _ in range(decoder_blocks[1])),
            nn.Conv2d(wide, pixels, 1),
            nn.PixelShuffle(FOLD),
        )

    def encode_groups(self, groups: Tensor) -> Tensor:
        """Encode groups (N, 12, H, W) to latents (N, z_dim, H/16, W/16)."""
        return self.encoder(groups)

    def decode_groups(self, latents: Tensor) -> Tensor:
        """Decode latents (N, z_dim, h, w) to groups (N, 12, 16h, 16w)."""
        return self.decoder(latents)

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[Latents]:
        """Return the latents of video (B, 3, 4n+1, H, W) in [-1, 1].

        Raises:
            ValueError: The number of frames is not 4n+1, or a side is not a multiple of 16.
        """
        groups = group_frames(x)
        latents = self.encode_groups(groups.flatten(0, 1))
        latents = latents.unflatten(0, groups.shape[:2]).transpose(1, 2)
        posterior = Latents(latents)
        if not return_dict:
            return (posterior,)
        return AutoencoderKLOutput(latent_dist=posterior)

    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Decode latents (B, z_dim, n+1, h, w) to video (B, 3, 4n+1, 16h, 16w)."""
        batch, _, num_groups = z.shape[:3]
        groups = self.decode_groups(z.transpose(1, 2).flatten(0, 1))
        video = ungroup_frames(groups.unflatten(0, (batch, num_groups)))
        if not return_dict:
            return (video,)
        return DecoderOutput(sample=video)

    def forward(self, sample: Tensor) -> Tensor:
        """Encode and decode a video; shape and range stay the same."""
        return self.decode(self.encode(sample, return_dict=False)[0].mode(), return_dict=False)[0]


def group_frames(video: Tensor) -> Tensor:
    """Return (B, 3, 4n+1, H, W) as groups (B, n+1, 12, H, W); the first frame is repeated.

    Raises:
        ValueError: The number of frames is not 4n+1, or a side is not a multiple of 16.
    """
    batch, channels, num_frames, height, width = video.shape
    if num_frames % GROUP != 1 or height % 16 or width % 16:
        raise ValueError(
            f"the codec takes 4n+1 frames with sides that are multiples of 16, "
            f"not {num_frames} of {width}x{height}"
        )
    first = video[:, :, :1].expand(-1, -1, GROUP, -1, -1)
    frames = torch.cat([first, video[:, :, 1:]], dim=2)
    return frames.reshape(batch, channels, -1, GROUP, height, width).transpose(1, 2).flatten(2, 3)


def ungroup_frames(groups: Tensor) -> Tensor:
    """Undo `group_frames`: the first group is averaged into one frame."""
    batch, num_groups, _, height, width = groups.shape
    frames = groups.unflatten(2, (3, GROUP)).transpose(1, 2)
    first = frames[:, :, 0].mean(2, keepdim=True)
    rest = frames[:, :, 1:].reshape(batch, 3, (num_groups - 1) * GROUP, height, width)
    return torch.cat([first, rest], dim=2)
