"""Wires the parts of `reelgrid serve`: job queue, blobs, workers, API; runs and stops them."""

import contextlib
import hmac
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import reelgrid
from reelgrid import catalog
from reelgrid.cli.output import say
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.api.estimates import Estimator
    from reelgrid.api.service import Service
    from reelgrid.catalog import ModelCard
    from reelgrid.cli.serve_config import ServeConfig
    from reelgrid.jobs.retention import Maintenance
    from reelgrid.jobs.sql.keys import ApiKeys
    from reelgrid.jobs.sql.sql_queue import SqlJobQueue
    from reelgrid.settings import Settings
    from reelgrid.store.blobs import Blobs
    from reelgrid.workers.settings import WorkerSettings
    from reelgrid.workers.supervisor import Supervisor

_DEFAULT_MODEL = "embedded"
_THREAD_STOP_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The parts of a server that its `Service`, the API's view of them, is made from."""

    cards: "tuple[ModelCard, ...]"
    job_queue: "SqlJobQueue"
    keys: "ApiKeys"
    blobs: "Blobs"
    supervisor: "Supervisor"
    maintenance: "Maintenance"


def run(config: "ServeConfig", settings: "Settings") -> None:
    """Serve until a signal stops it.

    Raises:
        RequestError: It cannot start: the port is taken, an API key is missing ...
        JobQueueError: The database cannot be used.
    """
    cards = _cards(config.model or [_DEFAULT_MODEL])
    _check_packages()
    from reelgrid.cli import http_server
    from reelgrid.jobs.sql.sql_queue import open_job_queue
    from reelgrid.media import signer_from_settings

    signer_from_settings(settings)  # an unusable certificate is refused now, not by each worker
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(http_server.listen(config.host, config.port))
        job_queue = open_job_queue(settings.database_url)
        stack.callback(job_queue.close)
        parts = _parts(config, settings, cards, job_queue)
        _check_keys(config, parts.keys)
        service = _service(config, settings, parts)
        stack.enter_context(_background_threads(settings, parts))
        parts.supervisor.start()
        stack.callback(parts.supervisor.stop)
        _serve(service, parts.supervisor, listening)
        say("stopping: saving checkpoints of the running jobs")


def _serve(service: "Service", supervisor: "Supervisor", listening: socket.socket) -> None:
    """Respond to requests until a signal stops the server."""
    from reelgrid.api.app import create_app
    from reelgrid.cli import http_server

    is_over = threading.Event()
    announcer = threading.Thread(
        target=http_server.announce,
        args=(service, supervisor, listening, is_over),
        name="announcer",
        daemon=True,
    )
    announcer.start()
    try:
        http_server.allow_many_connections()
        http_server.Server(service, create_app(service)).run(sockets=[listening])
    finally:
        is_over.set()
        announcer.join()


def _parts(
    config: "ServeConfig",
    settings: "Settings",
    cards: "tuple[ModelCard, ...]",
    job_queue: "SqlJobQueue",
) -> _Parts:
    from reelgrid.jobs.retention import Maintenance, RetentionPolicy
    from reelgrid.jobs.sql.keys import ApiKeys
    from reelgrid.store.blobs import Blobs
    from reelgrid.workers.supervisor import Supervisor

    blobs = Blobs(settings.blobs_url)
    workers = [_worker(config, settings, cards, number) for number in range(config.workers)]
    return _Parts(
        cards=cards,
        job_queue=job_queue,
        keys=ApiKeys(job_queue.database),
        blobs=blobs,
        supervisor=Supervisor(workers, job_queue.worker_died, has_standby=config.standby),
        maintenance=Maintenance(job_queue, blobs, RetentionPolicy.of(settings)),
    )


def _worker(
    config: "ServeConfig", settings: "Settings", cards: "tuple[ModelCard, ...]", number: int
) -> "WorkerSettings":
    from reelgrid.workers.settings import WorkerIntervals, WorkerSettings

    return WorkerSettings(
        database=settings.database_url,
        blobs=settings.blobs_url,
        scratch=settings.data / "scratch" / str(number),
        models=tuple(card.name for card in cards),
        device=config.device,
        dtype=config.dtype,
        data=settings.data,
        prompts_in_metadata=settings.prompts_in_metadata,
        trace=config.trace,
        log_level=settings.log_level,
        intervals=WorkerIntervals(checkpoint_every_s=settings.checkpoint_every_s),
    )


def _service(config: "ServeConfig", settings: "Settings", parts: _Parts) -> "Service":
    from reelgrid.api.auth import Authenticator, LinkSigner
    from reelgrid.api.events import JobBroadcaster
    from reelgrid.api.metrics import ServerMetrics
    from reelgrid.api.service import ServedModels, ServerLimits, Service
    from reelgrid.jobs.retention import retain_s

    return Service(
        job_queue=parts.job_queue,
        blobs=parts.blobs,
        models=ServedModels(parts.cards),
        authenticator=Authenticator(parts.keys, may_be_open=config.may_be_open),
        limits=ServerLimits(**config.limits),  # type: ignore[arg-type]  # by name
        estimator=_estimator(settings, parts.job_queue),
        broadcaster=JobBroadcaster(parts.job_queue.get_many),
        metrics=ServerMetrics(parts.job_queue),
        link_signer=LinkSigner(_link_key(settings)),
        version=reelgrid.__version__,
        wake=parts.supervisor.wake,
        failures=lambda: parts.supervisor.failures,
        usd_per_gpu_h=config.price,
        check_space=parts.maintenance.check_space,
        retain_videos_s=retain_s(settings.retain_videos_s),
        retain_images_s=retain_s(settings.retain_images_s),
        allow_private_webhooks=settings.allow_private_webhooks,
    )


def _estimator(settings: "Settings", job_queue: "SqlJobQueue") -> "Estimator":
    """Return the estimator, with the user's measurements and calibration if there are any."""
    from reelgrid.api.estimates import Estimator
    from reelgrid.measurement import read_records
    from reelgrid.plan.facts import user_file
    from reelgrid.plan.prediction.calibration import read_calibration

    measured = settings.measurements
    return Estimator(
        job_queue,
        read_records(measured) if measured.exists() else (),
        read_calibration(user_file(settings.data, "calibration.json")),
    )


def _link_key(settings: "Settings") -> bytes:
    """Return the key that signs the addresses of images."""
    from reelgrid.jobs.webhooks import read_master_key

    return hmac.digest(read_master_key(settings.data), b"reelgrid image links", "sha256")


@contextlib.contextmanager
def _background_threads(settings: "Settings", parts: _Parts) -> Iterator[None]:
    """Send webhooks and remove expired files while the block runs."""
    from reelgrid.jobs.webhooks import WebhookSender, read_master_key

    sender = WebhookSender(
        parts.job_queue,
        read_master_key(settings.data),
        allows_private=settings.allow_private_webhooks,
    )
    stop = threading.Event()
    threads = [
        threading.Thread(target=work, args=(stop,), daemon=True)
        for work in (sender.run, parts.maintenance.run)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(_THREAD_STOP_S)


def _cards(names: list[str]) -> "tuple[ModelCard, ...]":
    cards = []
    for name in names:
        card = catalog.find(name)
        if card is None:
            near = ", ".join(catalog.similar_names(name)) or "see reelgrid models"
            raise RequestError(
                f"no model {name!r} in the catalogue: {near}; only models of the catalogue can be "
                "served, use reelgrid generate for folders and other repositories",
                param="model",
            )
        cards.append(card)
    return tuple(dict.fromkeys(cards))


def _check_packages() -> None:
    """Check that the packages of a server are installed.

    Raises:
        RequestError: One is missing.
    """
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


def _check_keys(config: "ServeConfig", keys: "ApiKeys") -> None:
    if config.may_be_open or keys.has_any():
        return
    reason = (
        "--require-key needs an API key"
        if config.is_loopback
        else f"without an API key anyone could use the server on {config.host}"
    )
    raise RequestError(
        f"{reason}: create one first with `reelgrid keys create NAME`, or listen on 127.0.0.1 "
        "without --require-key",
        param="host",
    )
