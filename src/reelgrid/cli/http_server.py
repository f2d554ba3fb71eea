"""The server's ear and mouth: the socket, uvicorn on it, and what is said when it is ready.

Not here: what the server is made of (`wiring`).
"""

import contextlib
import logging
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import reelgrid
from reelgrid.cli.output import say
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    import uvicorn

    from reelgrid.api.service import Service
    from reelgrid.workers.supervisor import Supervisor

_KEEP_ALIVE_S = 75
_LAST_WORDS_S = 3
_LOOK_EVERY_S = 0.1
_NUM_LOOKS = 50
_NUM_FILES = 16_384


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens, before anything else is begun.

    Yields:
        The socket.

    Raises:
        RequestError: The port is taken, or there is no such address here.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        if sys.platform != "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(2_048)
        except OSError as error:
            raise RequestError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another with --host and --port",
                param="port",
            ) from None
        yield listening


def allow_many_connections() -> None:
    """Raise the number of files that may be open, of which every connection is one."""
    try:
        import resource
    except ImportError:  # Windows has no such bound
        return
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NUM_FILES if most == resource.RLIM_INFINITY else min(_NUM_FILES, most)
    if now < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def make_server(service: "Service", app: object) -> "uvicorn.Server":
    """Return uvicorn, set up for an application."""
    import uvicorn

    from reelgrid.api.connection import MAX_HEAD_BYTES, Connection

    class Server(uvicorn.Server):
        """Tells listeners to go as soon as it is told to stop, and leaves signals as they were."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Take a signal; the second one does not wait for anybody."""
            self.force_exit = self.should_exit
            self.should_exit = True
            service.broadcaster.close()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Take signals while it runs; what comes after that is done by the command."""
            wanted = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, self.handle_exit) for number in wanted}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    # What strangers send broken is answered, and is no news: anybody could fill the log with it.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]  # an ASGI application
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            ws="none",
            http=Connection,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LAST_WORDS_S,
            backlog=2_048,
        )
    )


def announce(
    models: str,
    service: "Service",
    supervisor: "Supervisor",
    listening: socket.socket,
    is_over: threading.Event,
) -> None:
    """Say where it is at once, and what it runs on when a worker can take work."""
    url = _url(listening)
    say(f"reelgrid {reelgrid.__version__} serves {models} at {url}/v1")
    if service.authenticator.is_open():
        say("no key has been made: whoever is on this machine may use it")
    warn_of_unserved_jobs(service)
    said: tuple[str, ...] = ()
    while supervisor.slots and not supervisor.is_ready and not is_over.wait(_LOOK_EVERY_S):
        if supervisor.failures != said:
            said = supervisor.failures
            say("; ".join(said))
    if not is_over.is_set():
        say(f"ready on {_machines(service)}; try:\n{curl_line(url, service)}")


def warn_of_unserved_jobs(service: "Service") -> None:
    """Say which jobs of an earlier start wait for models that are not served now."""
    from reelgrid.jobs.job import Phase

    served = {card.name for card in service.models.cards}
    left: dict[str, int] = {}
    for count in service.job_queue.job_counts():
        if not Phase(count.phase).is_final and count.model not in served:
            left[count.model] = left.get(count.model, 0) + count.num
    for model, num in sorted(left.items()):
        say(f"{num} unfinished jobs are for {model}: no worker of this server takes them")


def _machines(service: "Service") -> str:
    """Return what the workers run on; a worker that can take work introduces itself by asking."""
    for _ in range(_NUM_LOOKS):
        names = [worker.info.machine for worker in service.job_queue.workers() if worker.is_live]
        if names:
            return ", ".join(sorted(set(names)))
        threading.Event().wait(_LOOK_EVERY_S)
    return "no worker of its own"


def curl_line(url: str, service: "Service") -> str:
    """Return a line that asks for a video when it is pasted into a shell."""
    key = "" if service.authenticator.is_open() else ' -H "Authorization: Bearer $REELGRID_API_KEY"'
    prompt = shlex.quote("prompt=a red ball rolls to the right")
    return f"curl {url}/v1/videos{key} -F {prompt}"


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
