"""What a worker process does from its settings to its end: open the stores, load the model, work."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from reelgrid.errors import ModelMemoryError
from reelgrid.jobs.sql.sql_queue import SqlJobQueue, open_job_queue
from reelgrid.media import Provenance
from reelgrid.media.manifest import sign
from reelgrid.media.signer import signer_from_settings
from reelgrid.settings import Settings
from reelgrid.store.blobs import Blobs
from reelgrid.workers.context import Trace, WorkerContext
from reelgrid.workers.lease import Watchdog
from reelgrid.workers.model_cache import WorkerDevice, needed_gib
from reelgrid.workers.pipes import LivenessPipe
from reelgrid.workers.results import Sign, empty_scratch, leave_unsigned
from reelgrid.workers.settings import WorkerSettings
from reelgrid.workers.shutdown import GracefulShutdown
from reelgrid.workers.slot_lock import hold_slot
from reelgrid.workers.worker import Worker

NICENESS = 10
"""Niceness of a worker on the processor: the server beside it has to answer at once."""


def serve(
    settings: WorkerSettings,
    watchdog: Watchdog,
    liveness: LivenessPipe,
    shutdown: GracefulShutdown,
    *,
    is_supervised: bool,
) -> None:
    """Work until asked to stop.

    Raises:
        ReelgridError: The worker cannot start: no database, no such device, no such model.
    """
    device = WorkerDevice(settings.device, settings.dtype)
    _refuse_what_never_fits(settings.models, device)
    if is_supervised and device.device.type == "cpu":
        os.nice(NICENESS)
    with (
        closing(open_job_queue(settings.database)) as job_queue,
        hold_slot(settings.scratch, settings.name, job_queue.worker_died),
    ):
        context = _prepare(settings, device, job_queue, watchdog, shutdown)
        _work(context, device, settings.models, shutdown, liveness)
        job_queue.worker_died(settings.name)


def _prepare(
    settings: WorkerSettings,
    device: WorkerDevice,
    job_queue: SqlJobQueue,
    watchdog: Watchdog,
    shutdown: GracefulShutdown,
) -> WorkerContext:
    """Return the worker's context, with the first of its models in memory."""
    model_cache = device.model_cache()
    empty_scratch(settings.scratch)
    for name in settings.models[:1]:
        watchdog.start_stage("load")
        model_cache.get(name)
        watchdog.idle()
    return WorkerContext(
        worker=settings.name,
        job_queue=job_queue,
        blobs=Blobs(settings.blobs),
        model_cache=model_cache,
        scratch=settings.scratch,
        intervals=settings.intervals,
        prompts_in_metadata=settings.prompts_in_metadata,
        sign=_signing(settings.data) if settings.is_signed else leave_unsigned,
        trace=Trace(settings.trace, settings.name),
        is_stopping=lambda: shutdown.is_requested,
        watchdog=watchdog,
    )


def _work(
    context: WorkerContext,
    device: WorkerDevice,
    models: tuple[str, ...],
    shutdown: GracefulShutdown,
    liveness: LivenessPipe,
) -> None:
    """Claim jobs until asked to stop."""
    info = device.info(context.worker, frozenset(models) or None, context.model_cache)
    worker = Worker(context, info, shutdown.wake)
    shutdown.arm(worker.abandon)
    context.trace.record("ready", pid=os.getpid())
    liveness.ready()
    worker.run()
    shutdown.finished()
    context.trace.record("left")


def _refuse_what_never_fits(models: tuple[str, ...], device: WorkerDevice) -> None:
    for name in models:
        need_gib = needed_gib(name)
        if need_gib is not None and device.device.type == "cuda" and need_gib > device.memory_gib:
            raise ModelMemoryError(
                f"{name} needs {need_gib:.1f} GiB, {device.name} has {device.memory_gib:.1f}: "
                "choose a smaller model or a larger device"
            )


def _signing(data: Path | None) -> Sign:
    """Return what signs with the certificate that the user's settings name.

    The certificate is read again for every file, so that a renewed one needs no restart.

    Raises:
        RequestError: The certificate cannot be used.
    """
    settings = Settings() if data is None else Settings(data=data)
    signer_from_settings(settings)

    def sign_now(path: Path, provenance: Provenance, *, sources: Sequence[Path]) -> None:
        sign(path, provenance, signer_from_settings(settings), sources=sources)

    return sign_now
