"""`python -m reelgrid.workers [FILE]`: one worker process, until it is stopped or its parent is gone.

Started by a supervisor it is blank: it imports everything, then waits for the message that says which
worker it is. Started by hand it reads the same JSON from a file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from reelgrid import logs
from reelgrid.errors import ReelgridError
from reelgrid.startup import imports_without_collection, prepare_process
from reelgrid.workers.lease import Watchdog
from reelgrid.workers.pipes import LivenessPipe, ParentPipe, take_pipes
from reelgrid.workers.settings import WorkerSettings
from reelgrid.workers.shutdown import GracefulShutdown


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of a worker process."""
    prepare_process()
    files = sys.argv[1:] if arguments is None else arguments
    is_by_hand = files or sys.stdin is None or sys.stdin.isatty()  # None: it was closed
    return _run_by_hand(files) if is_by_hand else _run_supervised()


def _run_by_hand(files: Sequence[str]) -> int:
    try:
        (file,) = files
        message = Path(file).read_bytes()
    except (ValueError, OSError) as error:
        reason = error if isinstance(error, OSError) else "give one file of settings"
        sys.stderr.write(f"reelgrid worker: {reason}; see docs/workers.md, By hand\n")
        return 2
    return run(message, Watchdog(), LivenessPipe(None, lambda: True), None)


def _run_supervised() -> int:
    watchdog = Watchdog()
    from_parent, to_parent = take_pipes()
    liveness = LivenessPipe(to_parent, lambda: watchdog.is_alive)
    with imports_without_collection():
        import reelgrid.workers.main  # noqa: F401  # all that takes time, while there is time

    parent = ParentPipe(from_parent)
    message = parent.read_message()
    return 0 if message is None else run(message, watchdog, liveness, parent)


def run(
    message: bytes, watchdog: Watchdog, liveness: LivenessPipe, parent: ParentPipe | None
) -> int:
    """Return the exit code of the worker that the message describes; `parent` is its supervisor's pipe."""
    try:
        settings = WorkerSettings.read(message)
        logs.configure(settings.log_level)
        shutdown = GracefulShutdown(settings.grace_s)
        shutdown.listen_for_signals()
        if parent is not None:
            parent.watch(shutdown.wake.set, shutdown.request)

        with imports_without_collection():
            from reelgrid.workers.main import serve

        serve(settings, watchdog, liveness, shutdown, is_supervised=parent is not None)
    except (ReelgridError, OSError) as error:
        sys.stderr.write(f"reelgrid worker: {error}\n")
        liveness.failure(str(error))
        return getattr(error, "exit_code", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
