"""What `reelgrid serve` does: wires desk, blobs, workers and application, runs and stops them.

Imported only when the command runs. Not here: the options.
"""

import contextlib
import functools
import hmac
import ipaddress
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import reelgrid
from reelgrid import catalog
from reelgrid.cli.console import say
from reelgrid.errors import RequestError
from reelgrid.settings import Settings

if TYPE_CHECKING:
    import uvicorn

    from reelgrid.api.service import Service
    from reelgrid.catalog import ModelCard
    from reelgrid.fleet.supervisor import Supervisor
    from reelgrid.jobs.keys import Keys
    from reelgrid.jobs.sql import SqlDesk
    from reelgrid.store.blobs import Blobs

_KEEP_ALIVE_S = 75
_LAST_WORDS_S = 3
_READY_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be served, and where.

    Attributes:
        settings: The user's.
        models: Names of the catalogue, the default first.
        port: 0 is any that is free.
        database: URL or file; none is a file in the data folder.
        blobs: URL or folder.
        usd_per_gpu_h: For estimates; none says no price.
        limits: Those of `ServerLimits` that differ from its defaults.
        journal: The workers'.
    """

    settings: Settings
    models: tuple[str, ...]
    host: str
    port: int
    num_workers: int
    device: str
    dtype: str
    database: str | None
    blobs: str
    usd_per_gpu_h: float | None
    limits: Mapping[str, int | float] = field(default_factory=dict)
    journal: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def run(plan: Plan) -> None:
    """Serve until told to stop.

    Raises:
        RequestError: The plan cannot be carried out: a port is taken, a key is missing ...
        DeskError: The database cannot be used.
    """
    cards = _cards(plan.models)
    _check_packages()
    from reelgrid.jobs.keys import Keys
    from reelgrid.jobs.sql import open_desk
    from reelgrid.store.blobs import Blobs

    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listen(plan.host, plan.port))
        desk = open_desk(_database(plan))
        stack.callback(desk.close)
        keys = Keys(desk.database)
        _check_keys(plan, keys)
        blobs = Blobs(plan.blobs)
        supervisor = _supervisor(plan, desk)
        service = _service(plan, cards, desk, keys, blobs, supervisor)
        stack.enter_context(_housekeeping(plan, desk, blobs))
        supervisor.start()
        stack.callback(supervisor.stop)
        _serve(plan, service, supervisor, listening)
        say("stopping: what runs is saved")


def _serve(
    plan: Plan, service: "Service", supervisor: "Supervisor", listening: socket.socket
) -> None:
    """Answer requests until told to stop."""
    from reelgrid.api.app import create_app

    is_over = threading.Event()
    announcing = functools.partial(_announce, plan, service, supervisor, listening, is_over)
    announcer = threading.Thread(target=announcing, name="announcer", daemon=True)
    announcer.start()
    try:
        server = _make_server(service, create_app(service))
        server.run(sockets=[listening])
    finally:
        is_over.set()
        announcer.join()


def _make_server(service: "Service", app: object) -> "uvicorn.Server":
    import uvicorn

    class Server(uvicorn.Server):
        """Tells listeners to go as soon as it is told to stop, and leaves signals as they were."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Take a signal; the second one does not wait for anybody."""
            self.force_exit = self.should_exit
            self.should_exit = True
            service.hub.close()

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

    return Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]  # an ASGI application
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LAST_WORDS_S,
            backlog=2_048,
        )
    )


def _service(
    plan: Plan,
    cards: "tuple[ModelCard, ...]",
    desk: "SqlDesk",
    keys: "Keys",
    blobs: "Blobs",
    supervisor: "Supervisor",
) -> "Service":
    from reelgrid.api.auth import Door
    from reelgrid.api.cards import Offer
    from reelgrid.api.estimates import Estimator
    from reelgrid.api.events import Hub
    from reelgrid.api.limits import ServerLimits
    from reelgrid.api.links import Links
    from reelgrid.api.metrics import Meter
    from reelgrid.api.service import Service
    from reelgrid.jobs.webhook import read_master
    from reelgrid.measurement import read_records

    settings = plan.settings
    master = read_master(settings.data)
    measured = settings.measurements
    return Service(
        desk=desk,
        blobs=blobs,
        offer=Offer(cards),
        door=Door(keys, may_be_open=plan.is_loopback),
        limits=ServerLimits(**plan.limits),  # type: ignore[arg-type]  # by name
        estimator=Estimator(desk, read_records(measured) if measured.exists() else ()),
        hub=Hub(desk.get),
        meter=Meter(desk),
        links=Links(hmac.digest(master, b"reelgrid image links", "sha256")),
        version=reelgrid.__version__,
        wake=supervisor.wake,
        failures=lambda: supervisor.failures,
        usd_per_gpu_h=plan.usd_per_gpu_h,
        retain_videos_s=settings.retain_videos_s,
        retain_images_s=settings.retain_images_s,
        webhooks_to_private=settings.webhooks_to_private,
    )


def _supervisor(plan: Plan, desk: "SqlDesk") -> "Supervisor":
    from reelgrid.fleet.habits import Habits
    from reelgrid.fleet.settings import WorkerSettings
    from reelgrid.fleet.supervisor import Supervisor

    worker = WorkerSettings(
        database=str(_database(plan)),
        blobs=plan.blobs,
        scratch=plan.settings.data / "scratch",
        models=plan.models,
        device=plan.device,
        dtype=plan.dtype,
        journal=plan.journal,
        log_level=plan.settings.log_level,
        habits=Habits(
            save_every_s=plan.settings.save_every_s, shows_prompts=plan.settings.shows_prompts
        ),
    )
    commands = [worker.command(number) for number in range(plan.num_workers)]
    return Supervisor(commands, desk.bury, environment=worker.environment)


@contextlib.contextmanager
def _housekeeping(plan: Plan, desk: "SqlDesk", blobs: "Blobs") -> Iterator[None]:
    """Send webhooks while the block runs."""
    from reelgrid.jobs.messenger import Messenger
    from reelgrid.jobs.webhook import read_master

    messenger = Messenger(
        desk,
        read_master(plan.settings.data),
        allows_private=plan.settings.webhooks_to_private,
    )
    stop = threading.Event()
    sender = threading.Thread(target=messenger.run, args=(stop,), name="messenger", daemon=True)
    sender.start()
    try:
        yield
    finally:
        stop.set()


def _announce(
    plan: Plan,
    service: "Service",
    supervisor: "Supervisor",
    listening: socket.socket,
    is_over: threading.Event,
) -> None:
    """Say where it is at once, and what it runs on when a worker can take work."""
    url = _url(listening)
    say(f"reelgrid {reelgrid.__version__} serves {', '.join(plan.models)} at {url}/v1")
    if plan.is_loopback and service.door.is_open():
        say("no key has been made: whoever is on this machine may use it")
    said: tuple[str, ...] = ()
    while plan.num_workers and not supervisor.is_ready and not is_over.wait(_READY_LOOK_S):
        if supervisor.failures != said:
            said = supervisor.failures
            say("; ".join(said))
    if not is_over.is_set():
        say(f"ready on {_machines(service)}; try:\n{curl_line(url, service)}")


def _machines(service: "Service") -> str:
    """Return what the workers run on; a worker that can take work introduces itself by asking."""
    for _ in range(50):
        names = [worker.info.machine for worker in service.desk.workers() if worker.is_live]
        if names:
            return ", ".join(sorted(set(names)))
        threading.Event().wait(_READY_LOOK_S)
    return "no worker of its own"


def curl_line(url: str, service: "Service") -> str:
    """Return a line that asks for a video when it is pasted into a shell."""
    key = "" if service.door.is_open() else ' -H "Authorization: Bearer $REELGRID_KEY"'
    prompt = shlex.quote("prompt=a red ball rolls to the right")
    return f"curl {url}/v1/videos{key} -F {prompt}"


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _cards(names: tuple[str, ...]) -> "tuple[ModelCard, ...]":
    cards = []
    for name in names:
        card = catalog.find(name)
        if card is None:
            near = ", ".join(catalog.similar_names(name)) or "see reelgrid models"
            raise RequestError(f"no model {name!r} in the catalogue: {near}", param="model")
        cards.append(card)
    return tuple(dict.fromkeys(cards))


def _check_packages() -> None:
    """Refuse to begin without the packages of a server."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise RequestError(
            f'serving needs the package {error.name}: pip install "reelgrid[serve]"'
        ) from None


def _check_keys(plan: Plan, keys: "Keys") -> None:
    if not plan.is_loopback and not keys.has_any():
        raise RequestError(
            f"on {plan.host} anybody could use it: make a key first with "
            "`reelgrid keys create NAME`, or listen on 127.0.0.1",
            param="host",
        )


def _database(plan: Plan) -> str | Path:
    from reelgrid.jobs.sql import FILE

    return plan.settings.data / FILE if plan.database is None else plan.database


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
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
