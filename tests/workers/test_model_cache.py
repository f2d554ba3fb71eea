import gc
import weakref

import pytest

from reelgrid.errors import ModelError, ModelMemoryError
from reelgrid.workers.model_cache import ModelCache


class Model:
    pass


class Device:
    """Memory of 10 GiB, and models whose names give their size."""

    def __init__(self, *, sizes_known=True):
        self.loaded = []
        self.model_cache = ModelCache(
            self.load, self.free_gib, float if sizes_known else lambda name: None, self.release
        )
        self.num_released = 0
        self.in_use = weakref.WeakValueDictionary[str, Model]()

    def load(self, name):
        if float(name) > self.free_gib():
            raise ModelMemoryError(f"{name} needs more than is free")
        self.loaded.append(name)
        model = self.in_use[name] = Model()
        return model

    def free_gib(self):
        gc.collect()
        return 10 - sum(map(float, self.in_use.keys()))

    def release(self):
        self.num_released += 1


def test_a_model_stays_for_the_next_job():
    device = Device()
    assert device.model_cache.get("4") is device.model_cache.get("4")
    assert device.loaded == ["4"]


@pytest.mark.parametrize("sizes_known", [True, False])
def test_the_least_recently_used_model_is_evicted(sizes_known):
    device = Device(sizes_known=sizes_known)
    for name in ("4", "3", "4", "5"):
        device.model_cache.get(name)
    assert device.model_cache.names == {"4", "5"}
    assert device.num_released == 1


@pytest.mark.parametrize("sizes_known", [True, False])
def test_as_many_models_as_needed_are_evicted(sizes_known):
    device = Device(sizes_known=sizes_known)
    for name in ("2", "3", "4", "9"):
        device.model_cache.get(name)
    assert device.model_cache.names == {"9"}


def test_what_can_never_fit_is_refused():
    with pytest.raises(ModelMemoryError):
        Device().model_cache.get("11")


def test_a_broken_model_evicts_no_other():
    def load(name):
        if name == "broken":
            raise ModelError("no such model")
        return Model()

    model_cache = ModelCache(load, lambda: 10.0, lambda name: None, lambda: None)
    model_cache.get("good")
    with pytest.raises(ModelError):
        model_cache.get("broken")
    assert model_cache.names == {"good"}


def test_the_model_in_use_is_never_unloaded():
    device = Device()
    device.model_cache.get("2")
    assert not device.model_cache.evict(keep="2")
    assert device.model_cache.names == {"2"}
