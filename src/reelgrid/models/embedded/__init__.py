"""The embedded model: small text-to-video networks of our own, in diffusers' layout.

The model's index names this package, so its classes are imported here; `weights/` is an ordinary
diffusers folder. Trained by `reelgrid train embedded`.
"""

from reelgrid.models.embedded.codec import GroupCodec
from reelgrid.models.embedded.transformer import PlacedWanTransformer3DModel

__all__ = ["GroupCodec", "PlacedWanTransformer3DModel"]
