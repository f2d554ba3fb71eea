"""What a worker tells the desk of the machine it is on, and how much memory models have there."""

from collections.abc import Callable

from reelgrid import catalog
from reelgrid.engine import device as memory
from reelgrid.jobs.messages import WorkerInfo
from reelgrid.measurement import processor_name
from reelgrid.models.loading import LoadedModel, load_model
from reelgrid.models.placement import choose_device, free_memory
from reelgrid.workers.model_cache import ModelCache

GIB = 2**30
UNMEASURED_LOAD_S = 10.0


class Machine:
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
        self.memory_gib = self._all_gib()
        self.name = (
            torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else processor_name()
        )

    def info(
        self, worker: str, models: frozenset[str] | None, model_cache: ModelCache
    ) -> Callable[[], WorkerInfo]:
        """Return what gives the desk's view of a worker on this machine.

        Args:
            worker: Its id.
            models: The models it may load; none is any.
            model_cache: Its models in memory.
        """

        def look() -> WorkerInfo:
            return WorkerInfo(
                id=worker,
                machine=self.name,
                memory_gib=self.memory_gib,
                models=models,
                warm_models=model_cache.names,
                load_s=self._load_s,
            )

        return look

    def load(self, name: str) -> LoadedModel:
        """Return a model, loaded onto the device.

        Raises:
            ModelError: It cannot be loaded.
        """
        model = load_model(name, device=str(self.device), dtype=self._dtype)
        self._load_s = model.load_s
        return model

    def model_cache(self) -> ModelCache:
        """Return an empty shelf of models for this device."""
        return ModelCache(
            self.load, self.free_gib, needed_gib, lambda: memory.release_memory(self.device)
        )

    def free_gib(self) -> float:
        """Return the memory that models may take now."""
        where = free_memory(self.device)
        free = where.host_free_bytes if where.gpu_free_bytes is None else where.gpu_free_bytes
        return free / GIB

    def _all_gib(self) -> float:
        """Return the memory that a job may have: all of a GPU's, what is free of the host's."""
        if self.device.type == "cuda":
            import torch

            return float(torch.cuda.mem_get_info(self.device)[1]) / GIB
        return self.free_gib()


def needed_gib(name: str) -> float | None:
    """Return the memory that a model needs by its card; none for one without."""
    card = catalog.find(name)
    return None if card is None else card.memory_gib
