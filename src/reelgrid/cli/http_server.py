"""Binds the socket, configures uvicorn and prints the start-up lines of `reelgrid serve`."""

import contextlib
import logging
import resource
import shlex
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

import reelgrid
from reelgrid.api.connection import MAX_HEAD_BYTES, Connection
from reelgrid.cli.output import say
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.api.service import Service
    from reelgrid.workers.supervisor import Supervisor

_KEEP_ALIVE_S = 75
_SHUTDOWN_S = 3
_POLL_EVERY_S = 0.1
_NUM_POLLS = 50
_NUM_FILES = 16_384
_BACKLOG = 2_048


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a listening socket; opened first, so that a taken port fails before anything else.

    Yields:
        The socket.

    Raises:
        RequestError: The port is taken, or this machine does not have the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(_BACKLOG)
        except OSError as error:
            raise RequestError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another with --host and --port",
                param="port",
            ) from None
        yield listening


def allow_many_connections() -> None:
    """Raise the limit of open files, each connection being one."""
    now, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NUM_FILES if maximum == resource.RLIM_INFINITY else min(_NUM_FILES, maximum)
    if now < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, maximum))


class Server(uvicorn.Server):
    """uvicorn, which ends event streams at the first signal and restores signal handlers."""

    def __init__(self, service: "Service", app: object) -> None:
        # Malformed requests are not logged: anyone could fill the log with them.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        super().__init__(
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
                timeout_graceful_shutdown=_SHUTDOWN_S,
                backlog=_BACKLOG,
            )
        )
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully at the first signal, at once at the second."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._service.broadcaster.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs; the command stops the workers afterwards."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def announce(
    service: "Service",
    supervisor: "Supervisor",
    listening: socket.socket,
    is_over: threading.Event,
) -> None:
    """Print the address, then worker failures, then a first command once a worker is ready."""
    url = _url(listening)
    models = ", ".join(card.name for card in service.models.cards)
    say(f"reelgrid {reelgrid.__version__} serves {models} at {url}/v1")
    if service.authenticator.is_open():
        say("no API key exists: any user of this machine can use the server without one")
    warn_of_unserved_jobs(service)
    printed: tuple[str, ...] = ()
    while supervisor.slots and not supervisor.is_ready and not is_over.wait(_POLL_EVERY_S):
        if supervisor.failures != printed:
            printed = supervisor.failures
            say("; ".join(printed))
    if not is_over.is_set():
        say(f"ready on {_machines(service)}; try:\n{curl_line(url, service)}")


def warn_of_unserved_jobs(service: "Service") -> None:
    """Print how many jobs of earlier runs need models that are not served now."""
    from reelgrid.jobs.job import Phase

    served = {card.name for card in service.models.cards}
    unserved: dict[str, int] = {}
    for count in service.job_queue.job_counts():
        if not Phase(count.phase).is_final and count.model not in served:
            unserved[count.model] = unserved.get(count.model, 0) + count.num
    for model, num in sorted(unserved.items()):
        say(f"{num} unfinished jobs need {model}, which this server does not serve")


def _machines(service: "Service") -> str:
    """Return the machines of the workers; a worker registers when it first asks for a job."""
    for _ in range(_NUM_POLLS):
        names = [worker.info.machine for worker in service.job_queue.workers() if worker.is_live]
        if names:
            return ", ".join(sorted(set(names)))
        threading.Event().wait(_POLL_EVERY_S)
    return "no worker"


def curl_line(url: str, service: "Service") -> str:
    """Return a shell command that submits a video."""
    key = "" if service.authenticator.is_open() else ' -H "Authorization: Bearer $REELGRID_API_KEY"'
    prompt = shlex.quote("prompt=a red ball rolls to the right")
    return f"curl {url}/v1/videos{key} -F {prompt}"


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
