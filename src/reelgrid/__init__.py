"""Reelgrid generates, serves and plans text-to-video.

`reelgrid.generate` and `reelgrid.Clip` are imported on first use, so `import reelgrid` is fast.
"""

from typing import TYPE_CHECKING

from reelgrid.errors import ReelgridError
from reelgrid.spec import Request, Size
from reelgrid.version import __version__

if TYPE_CHECKING:
    from reelgrid.local import Clip, generate

__all__ = ["Clip", "ReelgridError", "Request", "Size", "__version__", "generate"]


def __getattr__(name: str) -> object:
    if name in ("Clip", "generate"):
        from reelgrid import local

        return getattr(local, name)
    raise AttributeError(f"module 'reelgrid' has no attribute {name!r}")
