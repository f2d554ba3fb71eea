"""Settings of a whole process, made by the programs' mains and by nobody who imports `reelgrid`.

They make the imports of torch, diffusers and transformers cheap and quiet: most of a short
command's time is spent there.
"""

import gc
import os

_OBJECTS_PER_COLLECTION = 200_000
_DEFAULT_THRESHOLD = gc.get_threshold()


def prepare_process() -> None:
    """Set what the libraries read when they are first imported, and collect garbage rarely.

    Imports make hundreds of thousands of objects that stay; looking through them again and again
    took half of the processor time of `reelgrid generate` (docs/log.md).
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # Threads that wait for their turn sleep instead of spinning: beside other busy processes, two
    # threads on two cores took 1.8 s for a clip of the embedded model, and 0.45 s so.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.set_threshold(_OBJECTS_PER_COLLECTION)


def finish_imports() -> None:
    """Collect garbage as usual from here on, without looking at what has been imported."""
    gc.freeze()
    gc.set_threshold(*_DEFAULT_THRESHOLD)
