"""The embedded model: small text-to-video networks of our own, in diffusers' layout.

The classes are named here because the model's index names this package; what they look like from
outside is `weights/`, an ordinary diffusers folder. Trained by `reelgrid train embedded`.
"""

from reelgrid.models.embedded.codec import GroupCodec
from reelgrid.models.embedded.transformer import PlacedWanTransformer3DModel

__all__ = ["GroupCodec", "PlacedWanTransformer3DModel"]
