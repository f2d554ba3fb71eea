"""The random numbers of one generation, apart from everybody else's.

Not the initial noise alone: a solver or block that draws from torch's global generators draws from
this generation's own stream, so that two generations may take turns and a seed means one clip.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Randomness:
    """A seeded stream for torch's global generators, put in place only while it is used."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._cuda_index = (
            torch.cuda._utils._get_device_index(device, optional=True)
            if (device.type == "cuda")
            else None
        )
        self._states: list[torch.Tensor] | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Draw from this stream inside the block; the world's generators stay as they were."""
        cuda = [] if self._cuda_index is None else [self._cuda_index]
        with torch.random.fork_rng(devices=cuda):
            self._install()
            yield
            self._states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(i) for i in cuda)]

    def fields(self) -> dict[str, Any]:
        """Return what `restore` needs to go on in the stream."""
        return {"seed": self._seed, "states": self._states}

    def restore(self, fields: dict[str, Any]) -> None:
        """Go on where `fields` were taken; a device that had no stream then starts a new one."""
        self._seed, self._states = fields["seed"], fields["states"]

    def _install(self) -> None:
        if self._states is None:
            torch.manual_seed(self._seed)
            return
        torch.set_rng_state(self._states[0])
        if self._cuda_index is not None and len(self._states) > 1:
            torch.cuda.set_rng_state(self._states[1], self._cuda_index)
