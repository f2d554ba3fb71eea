"""The trainable part of the embedded model: transformer, text encoder, statistics of the latents."""

from typing import Any

import torch
from torch import Tensor, nn

from reelgrid.models.embedded.text import MAX_TOKENS, build_text_encoder, build_tokenizer
from reelgrid.models.embedded.transformer import PlacedWanTransformer3DModel

MASK_CHANNELS = 4  # of the first-frame condition, as in Wan 2.1 image to video
CONFIG = {"num_attention_heads": 4, "ffn_dim": 1024, "num_layers": 6}


class FlowModel(nn.Module):
    """Transformer and text encoder with the statistics that normalise latents."""

    mean: Tensor
    std: Tensor
    gap: Tensor

    def __init__(self, mean: Tensor, std: Tensor, gap: Tensor, **config: Any) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer()
        self.text_encoder = build_text_encoder(len(self.tokenizer))
        self.transformer = PlacedWanTransformer3DModel(**config)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.register_buffer("gap", gap)  # the codec's latents of frames that are not given

    def normalise(self, latents: Tensor) -> Tensor:
        """Normalise latents (B, z, T, h, w) to mean 0 and standard deviation 1 per channel."""
        return (latents - _per_channel(self.mean)) / _per_channel(self.std)

    def embed(self, prompts: list[str]) -> Tensor:
        """Embed prompts as diffusers' Wan blocks do: (B, MAX_TOKENS, width), padding zeroed."""
        text = self.tokenizer(
            prompts,
            padding="max_length",
            max_length=MAX_TOKENS,
            truncation=True,
            return_tensors="pt",
        ).to(self.mean.device)
        hidden = self.text_encoder(text.input_ids, text.attention_mask).last_hidden_state
        return hidden * text.attention_mask[..., None]

    def condition(self, latents: Tensor, is_given: Tensor) -> Tensor:
        """Return first-frame mask and latents (B, 4 + z, T, h, w), zero where none is given."""
        batch, _, num_t, height, width = latents.shape
        mask = latents.new_zeros(batch, MASK_CHANNELS, num_t, height, width)
        mask[:, :, 0] = 1
        gap = self.normalise(self.gap.expand(batch, -1, num_t, height, width))
        given = torch.cat([latents[:, :, :1], gap[:, :, 1:]], dim=2)
        return torch.cat([mask, given], dim=1) * is_given[:, None, None, None, None]


def _per_channel(values: Tensor) -> Tensor:
    return values[None, :, None, None, None]
