"""A worker's place in a folder, held by a lock that the system drops when its process is gone.

Whoever gets the lock knows that the worker before it is dead, and can end its leases at once: after
a crash that took the supervisor too, nobody waits for a lease to run out.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reelgrid.errors import BusyError
from reelgrid.store import lock_file

PATIENCE_S = 30.0
"""A worker that was told to leave has left by then."""

_LOOK_EVERY_S = 0.05


@contextmanager
def succeeding(
    scratch: Path,
    name: str,
    end_leases: Callable[[str], object],
    *,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[None]:
    """Hold the place of the worker whose scratch folder this is, as long as the block lasts.

    Args:
        scratch: The folder; the lock lies beside it.
        name: Id of this worker.
        end_leases: Is told the id of the worker that was there before, which is dead, if there was
            one. Its name is kept until that is done: killed meanwhile, this worker's successor does
            it.
        patience_s: How long to wait for one that is still leaving.
        sleep: Waits so many seconds.

    Yields:
        Nothing.

    Raises:
        BusyError: Another worker is there and does not leave.
    """
    lock = scratch.with_name(f"{scratch.name}.worker")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        _hold_patiently(held, lock, patience_s, sleep)
        before = lock.read_text(encoding="utf-8").strip()
        if before:
            end_leases(before)
        lock.write_text(name, encoding="utf-8")
        yield


def _hold_patiently(
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
        sleep(_LOOK_EVERY_S)
        waited_s += _LOOK_EVERY_S
