"""Reelgrid: text to video on every GPU you can get.

`reelgrid.generate` and `reelgrid.Clip` are loaded on first use, so that `import reelgrid` is cheap.
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
