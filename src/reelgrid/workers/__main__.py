"""`python -m reelgrid.workers [FILE]`: one worker process, until it is stopped or its parent is gone.

Started by a supervisor it is blank: it imports everything, then waits for the message that says which
worker it is. Started by hand it reads the same JSON from a file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from reelgrid import logs
from reelgrid.errors import ReelgridError
from reelgrid.startup import finish_imports, prepare_process
from reelgrid.workers.lease import Watchdog
from reelgrid.workers.pipes import LivenessPipe, ParentPipe, take_pipes
from reelgrid.workers.settings import WorkerSettings
from reelgrid.workers.shutdown import GracefulShutdown


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of a worker process."""
    prepare_process()
    files = sys.argv[1:] if arguments is None else arguments
    watchdog = Watchdog()
    if files:
        return run(Path(files[0]).read_bytes(), watchdog, LivenessPipe(None, lambda: True), None)
    parent, to_parent = take_pipes()
    liveness = LivenessPipe(to_parent, lambda: watchdog.is_alive)
    import reelgrid.workers.main  # noqa: F401  # all that takes time, while there is time

    pipe = ParentPipe(parent)
    message = pipe.read_message()
    return 0 if message is None else run(message, watchdog, liveness, pipe)


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

        from reelgrid.workers.main import serve

        finish_imports()
        serve(settings, watchdog, liveness, shutdown, is_supervised=parent is not None)
    except (ReelgridError, OSError) as error:
        sys.stderr.write(f"reelgrid worker: {error}\n")
        liveness.failure(str(error))
        return getattr(error, "exit_code", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
