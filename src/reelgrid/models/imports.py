"""The imports of the large libraries, as cheap and as quiet as they can be.

Most of a short command's time is spent here. The rooms `models` and `engine` import this first.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Read by the libraries when they are first imported: their advice is not for our users.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")

# Threads that wait for their turn sleep instead of spinning: beside other busy processes, two
# threads on two cores took 1.8 s for a clip of the embedded model, and 0.45 s so.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def collection_paused() -> Iterator[None]:
    """Collect no garbage inside the block.

    Imports make hundreds of thousands of objects that stay, and are looked through again and
    again: with the freezing below, a whole `reelgrid generate` went from 5.2 to 2.9 s of
    processor time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


with collection_paused():
    import diffusers.modular_pipelines.modular_pipeline  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    # What the libraries are made of is never garbage: later collections need not look at it.
    gc.freeze()
