"""Cache of loaded models, least recently used evicted first, and the device that they are loaded on."""

import logging
from collections import OrderedDict
from collections.abc import Callable

from reelgrid import catalog
from reelgrid.engine import device as device_memory
from reelgrid.errors import ModelMemoryError
from reelgrid.jobs.messages import WorkerInfo
from reelgrid.measurement import processor_name
from reelgrid.models.loading import LoadedModel, load_model
from reelgrid.models.placement import choose_device, free_memory
from reelgrid.units import GIB

UNMEASURED_LOAD_S = 10.0

_log = logging.getLogger(__name__)

Load = Callable[[str], LoadedModel]
"""Loads a model by its name; raises `ModelMemoryError` where it does not fit the free memory."""


class ModelCache:
    """Loaded models by name.

    Args:
        load: Loads one.
        free_gib: Memory that is free on the device now.
        needed_gib: Memory that a model needs, as far as is known before it is loaded, or `None`.
        release: Gives unused memory back to the device.
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

    def get(self, name: str) -> LoadedModel:
        """Return a model; if it is not in memory, evict as many others as it needs and load it.

        Raises:
            ModelError: There is no such model, its files are broken, or it does not fit alone.
        """
        if name not in self._models:
            self._make_space(name)
            self._models[name] = self._load_or_evict(name)
        self._models.move_to_end(name)
        return self._models[name]

    def evict(self, keep: str | None = None) -> bool:
        """Unload the least recently used model but `keep`; whether there was one."""
        oldest = next((name for name in self._models if name != keep), None)
        if oldest is None:
            return False
        _log.info("%s is unloaded to make space", oldest)
        del self._models[oldest]
        self._release()
        return True

    def _make_space(self, name: str) -> None:
        need = self._needed_gib(name)
        while need is not None and self._free_gib() < need and self.evict():
            pass

    def _load_or_evict(self, name: str) -> LoadedModel:
        """Load the model; where it does not fit after all, once more for each model evicted."""
        while True:
            try:
                return self._load(name)
            except ModelMemoryError:
                if not self.evict():
                    raise


class WorkerDevice:
    """The device of one worker.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: The models' precision, or `auto`.

    Raises:
        RequestError: There is no such device here.
    """

    def __init__(self, device: str = "auto", dtype: str = "auto") -> None:
        import torch

        self.device = choose_device(device)
        self._dtype = dtype
        self._load_s = UNMEASURED_LOAD_S
        self.memory_gib = self._total_gib()
        self.name = (
            torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else processor_name()
        )

    def info(
        self, worker: str, models: frozenset[str] | None, model_cache: ModelCache
    ) -> Callable[[], WorkerInfo]:
        """Return a function that describes the worker to the job queue.

        Args:
            worker: Its id.
            models: The models it may load; `None` means any.
            model_cache: Its models in memory.
        """

        def describe() -> WorkerInfo:
            return WorkerInfo(
                id=worker,
                machine=self.name,
                memory_gib=self.memory_gib,
                models=models,
                warm_models=model_cache.names,
                load_s=self._load_s,
            )

        return describe

    def load(self, name: str) -> LoadedModel:
        """Return a model, loaded onto the device.

        Raises:
            ModelError: It cannot be loaded.
        """
        model = load_model(name, device=str(self.device), dtype=self._dtype)
        self._load_s = model.load_s
        return model

    def model_cache(self) -> ModelCache:
        """Return an empty cache of models for this device."""
        return ModelCache(
            self.load, self.free_gib, needed_gib, lambda: device_memory.release_memory(self.device)
        )

    def free_gib(self) -> float:
        """Return the memory that models may take now."""
        free = free_memory(self.device)
        num_bytes = free.host_free_bytes if free.gpu_free_bytes is None else free.gpu_free_bytes
        return num_bytes / GIB

    def _total_gib(self) -> float:
        """Return the memory that a job may have: all of a GPU's, what is free of the host's."""
        if self.device.type == "cuda":
            import torch

            return float(torch.cuda.mem_get_info(self.device)[1]) / GIB
        return self.free_gib()


def needed_gib(name: str) -> float | None:
    """Return the memory that a model needs by its card; `None` for one without."""
    card = catalog.find(name)
    return None if card is None else card.memory_gib
