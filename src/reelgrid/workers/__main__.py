"""`python -m reelgrid.workers`: one worker process, until it is told to leave or its parent is gone.

Its pipes are served before anything heavy is imported, so that it can be stopped and seen at once.
"""

import sys
from collections.abc import Sequence

from reelgrid import logs
from reelgrid.errors import ReelgridError
from reelgrid.startup import finish_imports, prepare_process
from reelgrid.workers import standby
from reelgrid.workers.pipes import ParentWatch, Signs
from reelgrid.workers.pulse import Watchdog
from reelgrid.workers.settings import NUM_WORDS, Started, parse
from reelgrid.workers.shutdown import GracefulShutdown


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of a worker's life."""
    prepare_process()
    said = list(sys.argv[1:] if arguments is None else arguments)
    ends = standby.read_ends(said)
    if ends is None:
        return _work(said, None)
    signs = Signs(ends.signs)
    import reelgrid.workers.main  # noqa: F401  # all that takes time, while there is time

    order = standby.wait_for_order(ends.lifeline)
    return 0 if order is None else _work(order[NUM_WORDS:], signs)


def _work(arguments: Sequence[str], signs: Signs | None) -> int:
    try:
        started = parse(arguments)
    except ReelgridError as error:
        sys.stderr.write(f"reelgrid worker: {error}\n")
        return error.exit_code
    logs.configure(started.settings.log_level)
    signs = signs or Signs(started.ends.signs if started.ends else None)
    try:
        return _live(started, signs, Watchdog())
    except (ReelgridError, OSError) as error:
        sys.stderr.write(f"reelgrid worker: {error}\n")
        signs.failure(str(error))
        return getattr(error, "exit_code", 1)


def _live(started: Started, signs: Signs, watchdog: Watchdog) -> int:
    signs.depend_on(lambda: watchdog.is_well)
    departure = GracefulShutdown(started.settings.grace_s)
    departure.on_signals()
    if started.ends is not None:
        ParentWatch(started.ends.lifeline, departure.wake.set, departure.ask)

    from reelgrid.workers.main import live

    finish_imports()

    live(started, signs, watchdog, departure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
