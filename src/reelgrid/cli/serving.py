"""What `reelgrid serve` does: wires desk, blobs, workers and application, runs and stops them.

Imported only when the command runs. Not here: the options.
"""

import contextlib
import functools
import hmac
import ipaddress
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import reelgrid
from reelgrid import catalog
from reelgrid.cli.console import say
from reelgrid.cli.listening import allow_many_connections, announce, listen, make_server
from reelgrid.errors import RequestError
from reelgrid.settings import Settings

if TYPE_CHECKING:
    from reelgrid.api.service import Service
    from reelgrid.catalog import ModelCard
    from reelgrid.fleet.supervisor import Supervisor
    from reelgrid.jobs.keys import Keys
    from reelgrid.jobs.sql import SqlDesk
    from reelgrid.jobs.sweeper import Sweeper
    from reelgrid.store.blobs import Blobs

_FAREWELL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be served, and where.

    Attributes:
        settings: The user's.
        models: Names of the catalogue, the default first.
        port: 0 is any that is free.
        database: URL or file.
        blobs: URL or folder.
        usd_per_gpu_h: For estimates; none says no price.
        requires_key: Whether a key is needed on this machine too.
        limits: Those of `ServerLimits` that differ from its defaults.
        journal: The workers'.
        has_spare: Whether a process waits to take a dead worker's place.
    """

    settings: Settings
    models: tuple[str, ...]
    host: str
    port: int
    num_workers: int
    device: str
    dtype: str
    database: str
    blobs: str
    usd_per_gpu_h: float | None
    requires_key: bool = False
    limits: Mapping[str, int | float] = field(default_factory=dict)
    journal: Path | None = None
    has_spare: bool = True

    @property
    def may_be_open(self) -> bool:
        """Whether it serves without a key as long as none has been made."""
        return self.is_loopback and not self.requires_key

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
    plan = replace(plan, models=tuple(card.name for card in cards))
    _check_packages()
    from reelgrid.jobs.keys import Keys
    from reelgrid.jobs.retention import RetentionPolicy
    from reelgrid.jobs.sql import open_desk
    from reelgrid.jobs.sweeper import Sweeper
    from reelgrid.media import signer_of
    from reelgrid.store.blobs import Blobs

    signer_of(plan.settings)  # what will not do is said now, not by each worker that starts
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(listen(plan.host, plan.port))
        desk = open_desk(plan.database)
        stack.callback(desk.close)
        keys = Keys(desk.database)
        _check_keys(plan, keys)
        blobs = Blobs(plan.blobs)
        supervisor = _supervisor(plan, desk)
        sweeper = Sweeper(desk, blobs, RetentionPolicy.of(plan.settings))
        service = _service(plan, cards, desk, keys, blobs, supervisor, sweeper)
        stack.enter_context(_housekeeping(plan, desk, sweeper))
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
    announcing = functools.partial(
        announce, ", ".join(plan.models), service, supervisor, listening, is_over
    )
    announcer = threading.Thread(target=announcing, name="announcer", daemon=True)
    announcer.start()
    try:
        allow_many_connections()
        server = make_server(service, create_app(service))
        server.run(sockets=[listening])
    finally:
        is_over.set()
        announcer.join()


def _service(
    plan: Plan,
    cards: "tuple[ModelCard, ...]",
    desk: "SqlDesk",
    keys: "Keys",
    blobs: "Blobs",
    supervisor: "Supervisor",
    sweeper: "Sweeper",
) -> "Service":
    from reelgrid.api.auth import Door
    from reelgrid.api.cards import Offer
    from reelgrid.api.estimates import Estimator
    from reelgrid.api.events import Hub
    from reelgrid.api.limits import ServerLimits
    from reelgrid.api.links import Links
    from reelgrid.api.metrics import Meter
    from reelgrid.api.service import Service
    from reelgrid.jobs.retention import retain_s
    from reelgrid.jobs.webhook import read_master
    from reelgrid.measurement import read_records

    settings = plan.settings
    master = read_master(settings.data)
    measured = settings.measurements
    return Service(
        desk=desk,
        blobs=blobs,
        offer=Offer(cards),
        door=Door(keys, may_be_open=plan.may_be_open),
        limits=ServerLimits(**plan.limits),  # type: ignore[arg-type]  # by name
        estimator=Estimator(desk, read_records(measured) if measured.exists() else ()),
        hub=Hub(desk.get),
        meter=Meter(desk),
        links=Links(hmac.digest(master, b"reelgrid image links", "sha256")),
        version=reelgrid.__version__,
        wake=supervisor.wake,
        failures=lambda: supervisor.failures,
        usd_per_gpu_h=plan.usd_per_gpu_h,
        check_room=sweeper.check_room,
        retain_videos_s=retain_s(settings.retain_videos_s),
        retain_images_s=retain_s(settings.retain_images_s),
        webhooks_to_private=settings.webhooks_to_private,
    )


def _supervisor(plan: Plan, desk: "SqlDesk") -> "Supervisor":
    from reelgrid.fleet.habits import Habits
    from reelgrid.fleet.settings import WorkerSettings
    from reelgrid.fleet.supervisor import Supervisor

    worker = WorkerSettings(
        database=plan.database,
        blobs=plan.blobs,
        scratch=plan.settings.data / "scratch",
        models=plan.models,
        device=plan.device,
        dtype=plan.dtype,
        data=plan.settings.data,
        journal=plan.journal,
        log_level=plan.settings.log_level,
        habits=Habits(
            save_every_s=plan.settings.save_every_s, shows_prompts=plan.settings.shows_prompts
        ),
    )
    commands = [worker.command(number) for number in range(plan.num_workers)]
    spare = worker.spare if plan.has_spare else None
    return Supervisor(commands, desk.bury, environment=worker.environment, spare=spare)


@contextlib.contextmanager
def _housekeeping(plan: Plan, desk: "SqlDesk", sweeper: "Sweeper") -> Iterator[None]:
    """Send webhooks and sweep while the block runs."""
    from reelgrid.jobs.messenger import Messenger
    from reelgrid.jobs.webhook import read_master

    messenger = Messenger(
        desk,
        read_master(plan.settings.data),
        allows_private=plan.settings.webhooks_to_private,
    )
    stop = threading.Event()
    keepers = [
        threading.Thread(target=work, args=(stop,), daemon=True)
        for work in (messenger.run, sweeper.run)
    ]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        stop.set()
        for keeper in keepers:
            keeper.join(_FAREWELL_S)


def _cards(names: tuple[str, ...]) -> "tuple[ModelCard, ...]":
    cards = []
    for name in names:
        card = catalog.find(name)
        if card is None:
            near = ", ".join(catalog.similar_names(name)) or "see reelgrid models"
            raise RequestError(
                f"no model {name!r} in the catalogue: {near}; what is served has to say what it can "
                "do before it is loaded, so folders and other repositories run with reelgrid "
                "generate only",
                param="model",
            )
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
    if plan.may_be_open or keys.has_any():
        return
    where = "a key is required" if plan.is_loopback else f"on {plan.host} anybody could use it"
    raise RequestError(
        f"{where}: make one first with `reelgrid keys create NAME`, or listen on 127.0.0.1 "
        "without --require-key",
        param="host",
    )
