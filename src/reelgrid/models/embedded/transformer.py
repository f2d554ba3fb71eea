"""The embedded model's network: diffusers' Wan transformer with absolute position embeddings.

Wan's rotary embedding encodes only the distance of tokens. At high noise all tokens are alike, so
attention finds no position, and a small model never learns that "to the right" starts on the left
(direction stayed at chance after 160,000 clips; with a learned table 16,000 were enough).
"""

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn


class PlacedPatchEmbedding(nn.Conv3d):
    """Wan's patch embedding, plus a learned vector for each position.

    Input has either the latents' channels (text to video) or these and the first frame's mask
    and latents after them (image to video); channels that are missing count as zeros.
    """

    def __init__(
        self, channels: int, width: int, patch: tuple[int, int, int], grid: tuple[int, ...]
    ):
        super().__init__(channels, width, kernel_size=patch, stride=patch)
        self.place = nn.Parameter(torch.randn(1, width, *grid) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Embed (B, c, T, H, W) with c <= in_channels to (B, width, t, h, w)."""
        missing = self.in_channels - x.shape[1]
        if missing:
            x = torch.cat([x, x.new_zeros(x.shape[0], missing, *x.shape[2:])], dim=1)
        tokens = super().forward(x)
        num_t, num_h, num_w = tokens.shape[2:]
        return tokens + self.place[:, :, :num_t, :num_h, :num_w].to(tokens.dtype)


class PlacedWanTransformer3DModel(WanTransformer3DModel):
    """`WanTransformer3DModel` with absolute positions for up to `grid` tokens (T, H, W)."""

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, ...] = (1, 2, 2),
        num_attention_heads: int = 5,
        attention_head_dim: int = 64,
        in_channels: int = 52,
        out_channels: int = 24,
        text_dim: int = 192,
        freq_dim: int = 256,
        ffn_dim: int = 1280,
        num_layers: int = 6,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 32,
        pos_embed_seq_len: int | None = None,
        grid: tuple[int, ...] = (5, 4, 4),
    ) -> None:
        super().__init__(
            patch_size=patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=num_layers,
            cross_attn_norm=cross_attn_norm,
            qk_norm=qk_norm,
            eps=eps,
            image_dim=image_dim,
            added_kv_proj_dim=added_kv_proj_dim,
            rope_max_seq_len=rope_max_seq_len,
            pos_embed_seq_len=pos_embed_seq_len,
        )
        t, h, w = patch_size
        width = num_attention_heads * attention_head_dim
        self.patch_embedding = PlacedPatchEmbedding(in_channels, width, (t, h, w), grid)
