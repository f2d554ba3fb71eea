"""Files and blobs that are there whole or not at all, and who holds them.

Not here: what is in the files.
"""

from reelgrid.store.blobs import Blob, Blobs
from reelgrid.store.lock import hold, is_held
from reelgrid.store.whole import write_whole, write_whole_folder

__all__ = ["Blob", "Blobs", "hold", "is_held", "write_whole", "write_whole_folder"]
