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
from reelgrid.cli.http_server import allow_many_connections, announce, listen, make_server
from reelgrid.cli.output import say
from reelgrid.errors import RequestError
from reelgrid.settings import Settings

if TYPE_CHECKING:
    from reelgrid.api.service import Service
    from reelgrid.catalog import ModelCard
    from reelgrid.jobs.retention import Maintenance
    from reelgrid.jobs.sql.keys import ApiKeys
    from reelgrid.jobs.sql.sql_queue import SqlJobQueue
    from reelgrid.store.blobs import Blobs
    from reelgrid.workers.supervisor import Supervisor

_FAREWELL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
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
        trace: The workers'.
        has_standby: Whether a process waits to take a dead worker's place.
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
    trace: Path | None = None
    has_standby: bool = True

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


def run(config: ServeConfig) -> None:
    """Serve until told to stop.

    Raises:
        RequestError: The plan cannot be carried out: a port is taken, a key is missing ...
        JobQueueError: The database cannot be used.
    """
    cards = _cards(config.models)
    config = replace(config, models=tuple(card.name for card in cards))
    _check_packages()
    from reelgrid.jobs.retention import Maintenance, RetentionPolicy
    from reelgrid.jobs.sql.keys import ApiKeys
    from reelgrid.jobs.sql.sql_queue import open_job_queue
    from reelgrid.media import signer_from_settings
    from reelgrid.store.blobs import Blobs

    signer_from_settings(
        config.settings
    )  # what will not do is said now, not by each worker that starts
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(listen(config.host, config.port))
        job_queue = open_job_queue(config.database)
        stack.callback(job_queue.close)
        keys = ApiKeys(job_queue.database)
        _check_keys(config, keys)
        blobs = Blobs(config.blobs)
        supervisor = _supervisor(config, job_queue)
        maintenance = Maintenance(job_queue, blobs, RetentionPolicy.of(config.settings))
        service = _service(config, cards, job_queue, keys, blobs, supervisor, maintenance)
        stack.enter_context(_housekeeping(config, job_queue, maintenance))
        supervisor.start()
        stack.callback(supervisor.stop)
        _serve(config, service, supervisor, listening)
        say("stopping: what runs is saved")


def _serve(
    config: ServeConfig, service: "Service", supervisor: "Supervisor", listening: socket.socket
) -> None:
    """Answer requests until told to stop."""
    from reelgrid.api.app import create_app

    is_over = threading.Event()
    announcing = functools.partial(
        announce, ", ".join(config.models), service, supervisor, listening, is_over
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
    config: ServeConfig,
    cards: "tuple[ModelCard, ...]",
    job_queue: "SqlJobQueue",
    keys: "ApiKeys",
    blobs: "Blobs",
    supervisor: "Supervisor",
    maintenance: "Maintenance",
) -> "Service":
    from reelgrid.api.auth import Authenticator, LinkSigner
    from reelgrid.api.estimates import Estimator
    from reelgrid.api.events import JobBroadcaster
    from reelgrid.api.metrics import ServerMetrics
    from reelgrid.api.registry import ServedModels
    from reelgrid.api.service import ServerLimits, Service
    from reelgrid.jobs.retention import retain_s
    from reelgrid.jobs.webhooks import read_master_key
    from reelgrid.measurement import read_records

    settings = config.settings
    master = read_master_key(settings.data)
    measured = settings.measurements
    return Service(
        job_queue=job_queue,
        blobs=blobs,
        models=ServedModels(cards),
        authenticator=Authenticator(keys, may_be_open=config.may_be_open),
        limits=ServerLimits(**config.limits),  # type: ignore[arg-type]  # by name
        estimator=Estimator(job_queue, read_records(measured) if measured.exists() else ()),
        broadcaster=JobBroadcaster(job_queue.get),
        metrics=ServerMetrics(job_queue),
        link_signer=LinkSigner(hmac.digest(master, b"reelgrid image links", "sha256")),
        version=reelgrid.__version__,
        wake=supervisor.wake,
        failures=lambda: supervisor.failures,
        usd_per_gpu_h=config.usd_per_gpu_h,
        check_space=maintenance.check_space,
        retain_videos_s=retain_s(settings.retain_videos_s),
        retain_images_s=retain_s(settings.retain_images_s),
        allow_private_webhooks=settings.allow_private_webhooks,
    )


def _supervisor(config: ServeConfig, job_queue: "SqlJobQueue") -> "Supervisor":
    from reelgrid.workers.habits import WorkerIntervals
    from reelgrid.workers.settings import WorkerSettings
    from reelgrid.workers.supervisor import Supervisor

    worker = WorkerSettings(
        database=config.database,
        blobs=config.blobs,
        scratch=config.settings.data / "scratch",
        models=config.models,
        device=config.device,
        dtype=config.dtype,
        data=config.settings.data,
        trace=config.trace,
        log_level=config.settings.log_level,
        intervals=WorkerIntervals(
            checkpoint_every_s=config.settings.checkpoint_every_s,
            prompts_in_metadata=config.settings.prompts_in_metadata,
        ),
    )
    commands = [worker.command(number) for number in range(config.num_workers)]
    spare = worker.standby if config.has_standby else None
    return Supervisor(commands, job_queue.worker_died, environment=worker.environment, spare=spare)


@contextlib.contextmanager
def _housekeeping(
    config: ServeConfig, job_queue: "SqlJobQueue", maintenance: "Maintenance"
) -> Iterator[None]:
    """Send webhooks and sweep while the block runs."""
    from reelgrid.jobs.webhooks import WebhookSender, read_master_key

    messenger = WebhookSender(
        job_queue,
        read_master_key(config.settings.data),
        allows_private=config.settings.allow_private_webhooks,
    )
    stop = threading.Event()
    keepers = [
        threading.Thread(target=work, args=(stop,), daemon=True)
        for work in (messenger.run, maintenance.run)
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


def _check_keys(config: ServeConfig, keys: "ApiKeys") -> None:
    if config.may_be_open or keys.has_any():
        return
    where = "a key is required" if config.is_loopback else f"on {config.host} anybody could use it"
    raise RequestError(
        f"{where}: make one first with `reelgrid keys create NAME`, or listen on 127.0.0.1 "
        "without --require-key",
        param="host",
    )
