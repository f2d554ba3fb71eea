"""Process-wide settings of the programs; importing `reelgrid` never changes its importer's process.

They make the imports of torch, diffusers and transformers fast and quiet: most of the time of a short
command is spent there.
"""

import gc
import os

_OBJECTS_PER_COLLECTION = 200_000
_DEFAULT_THRESHOLD = gc.get_threshold()


def prepare_process() -> None:
    """Set environment variables that the libraries read when imported; collect garbage rarely.

    Imports make hundreds of thousands of objects that stay; looking through them again and again
    took half of the processor time of `reelgrid generate` (docs/log.md).
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # Waiting threads sleep instead of spinning: beside other busy processes, two
    # threads on two cores took 1.8 s for a clip of the embedded model, and 0.45 s so.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.set_threshold(_OBJECTS_PER_COLLECTION)


def finish_imports() -> None:
    """Collect garbage as usual from here on, without looking at what has been imported."""
    gc.freeze()
    gc.set_threshold(*_DEFAULT_THRESHOLD)
