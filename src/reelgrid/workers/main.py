"""The life of a worker process: gather what it works with, load its model, work, leave."""

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
from reelgrid.workers.context import WorkerContext
from reelgrid.workers.journal import Trace
from reelgrid.workers.machine import Machine, needed_gib
from reelgrid.workers.pipes import Signs
from reelgrid.workers.pulse import Watchdog
from reelgrid.workers.results import Sign, leave_unsigned
from reelgrid.workers.scratch import empty_scratch
from reelgrid.workers.settings import Started
from reelgrid.workers.shutdown import GracefulShutdown
from reelgrid.workers.slot_lock import succeeding
from reelgrid.workers.worker import Worker

NICENESS = 10
"""How far a worker on the processor stands behind the server beside it, which has to answer at once."""


def live(started: Started, signs: Signs, watchdog: Watchdog, departure: GracefulShutdown) -> None:
    """Work until told to leave.

    Raises:
        ReelgridError: The worker cannot begin: no database, no such device, no such model.
    """
    settings = started.settings
    machine = Machine(settings.device, settings.dtype)
    _refuse_what_never_fits(settings.models, machine)
    if started.ends is not None and machine.device.type == "cpu":
        os.nice(NICENESS)
    with (
        closing(open_job_queue(settings.database)) as job_queue,
        succeeding(settings.scratch, started.name, job_queue.worker_died),
    ):
        context = _settle(started, machine, job_queue, departure, watchdog)
        _work(context, machine, settings.models, departure, signs)
        job_queue.worker_died(started.name)


def _settle(
    started: Started,
    machine: Machine,
    job_queue: SqlJobQueue,
    departure: GracefulShutdown,
    watchdog: Watchdog,
) -> WorkerContext:
    """Return the worker's place, with the first of its models in memory."""
    settings, model_cache = started.settings, machine.model_cache()
    empty_scratch(settings.scratch)
    for name in settings.models[:1]:
        watchdog.enter("load")
        model_cache.take(name)
        watchdog.rest()
    return WorkerContext(
        worker=started.name,
        job_queue=job_queue,
        blobs=Blobs(settings.blobs),
        model_cache=model_cache,
        scratch=settings.scratch,
        intervals=settings.intervals,
        sign=_signing() if settings.is_signed else leave_unsigned,
        trace=Trace(settings.trace, started.name),
        is_leaving=lambda: departure.is_wanted,
        watchdog=watchdog,
    )


def _work(
    context: WorkerContext,
    machine: Machine,
    models: tuple[str, ...],
    departure: GracefulShutdown,
    signs: Signs,
) -> None:
    """Take jobs until told to leave."""
    info = machine.info(context.worker, frozenset(models) or None, context.model_cache)
    worker = Worker(context, info, departure.wake)
    departure.begin(worker.give_up)
    context.trace.note("ready", pid=os.getpid())
    signs.ready()
    worker.work()
    departure.left()
    context.trace.note("left")


def _refuse_what_never_fits(models: tuple[str, ...], machine: Machine) -> None:
    for name in models:
        need_gib = needed_gib(name)
        if need_gib is not None and machine.device.type == "cuda" and need_gib > machine.memory_gib:
            raise ModelMemoryError(
                f"{name} needs {need_gib:.1f} GiB, {machine.name} has {machine.memory_gib:.1f}: "
                "choose a smaller model or a larger device"
            )


def _signing() -> Sign:
    """Return what signs with the certificate that the user's settings name.

    It is read for every file, so that a renewed one needs no restart.

    Raises:
        RequestError: The certificate will not do.
    """
    settings = Settings()
    signer_from_settings(settings)

    def sign_now(path: Path, provenance: Provenance, *, sources: Sequence[Path]) -> None:
        sign(path, provenance, signer_from_settings(settings), sources=sources)

    return sign_now
