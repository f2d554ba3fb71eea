"""Process-wide settings of the programs; importing `reelgrid` never changes its importer's process.

They make the imports of torch, diffusers and transformers fast and quiet: most of the time of a short
command is spent there.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


def prepare_process() -> None:
    """Set the environment variables that the libraries read when they are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # Waiting threads sleep instead of spinning: beside other busy processes, two
    # threads on two cores took 1.8 s for a clip of the embedded model, and 0.45 s so.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def imports_without_collection() -> Iterator[None]:
    """Collect no garbage during imports, and never examine afterwards what they made.

    Imports make hundreds of thousands of objects that stay; examining them again and again took
    almost half of the processor time of `reelgrid generate` (5.2 s, and 2.9 s so).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
