"""`python -m reelgrid.fleet`: one worker process, until it is told to leave or its parent is gone.

Its pipes are served before anything heavy is imported, so that it can be stopped and seen at once.
"""

import sys
from collections.abc import Sequence

from reelgrid import logs
from reelgrid.errors import ReelgridError
from reelgrid.fleet.departure import Departure
from reelgrid.fleet.lifeline import ParentWatch, Signs
from reelgrid.fleet.pulse import Pulse
from reelgrid.fleet.settings import Started, parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of a worker's life."""
    try:
        started = parse(sys.argv[1:] if arguments is None else arguments)
    except ReelgridError as error:
        sys.stderr.write(f"reelgrid worker: {error}\n")
        return error.exit_code
    logs.configure(started.settings.log_level)
    pulse = Pulse()
    signs = Signs(started.ends.signs if started.ends else None, lambda: pulse.is_well)
    try:
        return _live(started, signs, pulse)
    except (ReelgridError, OSError) as error:
        sys.stderr.write(f"reelgrid worker: {error}\n")
        signs.failure(str(error))
        return getattr(error, "exit_code", 1)


def _live(started: Started, signs: Signs, pulse: Pulse) -> int:
    departure = Departure(started.settings.grace_s)
    departure.on_signals()
    if started.ends is not None:
        ParentWatch(started.ends.lifeline, departure.wake.set, departure.ask)

    from reelgrid.fleet.life import live

    live(started, signs, pulse, departure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
