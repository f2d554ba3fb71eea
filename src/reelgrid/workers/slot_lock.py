"""One lock per worker slot, held as long as the process lives and dropped by the system with it.

A worker that gets the lock knows that the slot's last worker is dead, and ends its leases at once: after a
crash that took the supervisor too, no job waits for a lease to expire.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reelgrid.errors import BusyError
from reelgrid.store.lock import lock_file

PATIENCE_S = 30.0
"""A worker that was asked to stop has ended by then."""

_RETRY_EVERY_S = 0.05


@contextmanager
def hold_slot(
    scratch: Path,
    name: str,
    worker_died: Callable[[str], object],
    *,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[None]:
    """Hold the slot whose scratch folder this is, as long as the block lasts.

    Args:
        scratch: The folder; the lock file lies beside it.
        name: Id of this worker.
        worker_died: Ends the leases of the slot's last worker, if there was one. Its name stays in
            the lock file until that is done: if this worker is killed meanwhile, the next one does it.
        patience_s: How long to wait for a worker that is still stopping.
        sleep: Waits so many seconds.

    Raises:
        BusyError: Another worker holds the slot and does not stop.
    """
    lock = scratch.with_name(f"{scratch.name}.worker")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        _lock_patiently(held, lock, patience_s, sleep)
        before = lock.read_text(encoding="utf-8").strip()
        if before:
            worker_died(before)
        lock.write_text(name, encoding="utf-8")
        yield


def _lock_patiently(
    held: ExitStack, lock: Path, patience_s: float, sleep: Callable[[float], object]
) -> None:
    waited_s = 0.0
    while True:
        try:
            held.enter_context(lock_file(lock))
        except BusyError:
            if waited_s >= patience_s:
                raise BusyError(f"another worker is at work in {lock.parent}") from None
        else:
            return
        sleep(_RETRY_EVERY_S)
        waited_s += _RETRY_EVERY_S
