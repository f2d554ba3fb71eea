"""FLOPs of a generation by formula, a multiply-add counted as two, as GPUs' peak rates are.

One forward of `N` layers of width `d` over `L` tokens of video and `m` of text, with `P` weights
that each token is multiplied with:

    joint    2 P (L + m) + 4 (L + m)^2 d N
    cross    2 P L + 4 L^2 d N + 4 L m d N
    linear   2 P L + 4 L d^2 N / heads + 4 L m d N     (linear attention, arXiv:2410.10629)

Two matrix products of `2 L^2 d` each make an attention, as in arXiv:2001.08361 section 2.1 for the
causal case. Left out: codec, text encoder, modulation, normalisation; they count below about four
steps. Not here: how fast it goes (`calibration`).
"""

from dataclasses import dataclass

from reelgrid.plan.architectures import Architecture
from reelgrid.spec import Size


@dataclass(frozen=True, slots=True)
class ForwardFlops:
    """FLOPs of one forward of one clip.

    Attributes:
        linear: Of matrix products with weights.
        attention: Of attention, the products of activations with each other.
    """

    linear: float
    attention: float

    @property
    def total(self) -> float:
        """All of them."""
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
