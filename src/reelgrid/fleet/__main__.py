"""`python -m reelgrid.fleet`: one worker process, until it is told to leave or its parent is gone.

Its pipes are served before anything heavy is imported, so that it can be stopped and seen at once.
"""

import sys
from collections.abc import Sequence

from reelgrid import logs
from reelgrid.errors import ReelgridError
from reelgrid.fleet import spare
from reelgrid.fleet.departure import Departure
from reelgrid.fleet.lifeline import ParentWatch, Signs
from reelgrid.fleet.pulse import Pulse
from reelgrid.fleet.settings import NUM_WORDS, Started, parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of a worker's life."""
    said = list(sys.argv[1:] if arguments is None else arguments)
    ends = spare.read_ends(said)
    if ends is None:
        return _work(said, None)
    signs = Signs(ends.signs)
    import reelgrid.fleet.life  # noqa: F401  # all that takes time, while there is time

    order = spare.wait_for_order(ends.lifeline)
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
        return _live(started, signs, Pulse())
    except (ReelgridError, OSError) as error:
        sys.stderr.write(f"reelgrid worker: {error}\n")
        signs.failure(str(error))
        return getattr(error, "exit_code", 1)


def _live(started: Started, signs: Signs, pulse: Pulse) -> int:
    signs.depend_on(lambda: pulse.is_well)
    departure = Departure(started.settings.grace_s)
    departure.on_signals()
    if started.ends is not None:
        ParentWatch(started.ends.lifeline, departure.wake.set, departure.ask)

    from reelgrid.fleet.life import live

    live(started, signs, pulse, departure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
