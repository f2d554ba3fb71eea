"""The models in memory: loaded when a job needs them, the one used longest ago makes room.

Not here: how a model is loaded (`models`), and which models a worker may load (the desk's policy).
"""

import logging
from collections import OrderedDict
from collections.abc import Callable

from reelgrid.errors import ModelMemoryError
from reelgrid.models.loading import LoadedModel

_log = logging.getLogger(__name__)

Load = Callable[[str], LoadedModel]
"""Loads a model by its name; raises NoRoomError where it does not fit what memory is free."""


class ModelCache:
    """Loaded models by name.

    Args:
        load: Loads one.
        free_gib: Memory that is free on the device now.
        needed_gib: Memory that a model needs, as far as is known before it is loaded; None is
            unknown.
        release: Gives what nobody uses any more back to the device.
    """

    def __init__(
        self,
        load: Load,
        free_gib: Callable[[], float],
        needed_gib: Callable[[str], float | None],
        release: Callable[[], None],
    ) -> None:
        self._load = load
        self._free_gib = free_gib
        self._needed_gib = needed_gib
        self._release = release
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()

    @property
    def names(self) -> frozenset[str]:
        """The models in memory."""
        return frozenset(self._models)

    def take(self, name: str) -> LoadedModel:
        """Return a model, loaded if it is not, after unloading as many others as that takes.

        Raises:
            ModelError: There is no such model, its files are broken, or it does not fit alone.
        """
        if name not in self._models:
            self._make_room(name)
            self._models[name] = self._load_in_turn(name)
        self._models.move_to_end(name)
        return self._models[name]

    def unload_idle(self, keep: str | None = None) -> bool:
        """Unload the model used longest ago but `keep`; whether there was one."""
        oldest = next((name for name in self._models if name != keep), None)
        if oldest is None:
            return False
        _log.info("%s is unloaded to make room", oldest)
        del self._models[oldest]
        self._release()
        return True

    def _make_room(self, name: str) -> None:
        need = self._needed_gib(name)
        while need is not None and self._free_gib() < need and self.unload_idle():
            pass

    def _load_in_turn(self, name: str) -> LoadedModel:
        """Load it; where it does not fit after all, once more for each model that makes room."""
        while True:
            try:
                return self._load(name)
            except ModelMemoryError:
                if not self.unload_idle():
                    raise
