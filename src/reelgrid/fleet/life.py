"""The life of a worker process: gather what it works with, load its model, work, leave."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from reelgrid.errors import NoRoomError
from reelgrid.fleet.delivery import Sign, leave_unsigned
from reelgrid.fleet.departure import Departure
from reelgrid.fleet.journal import Journal
from reelgrid.fleet.lifeline import Signs
from reelgrid.fleet.machine import Machine, needed_gib
from reelgrid.fleet.place import Workplace
from reelgrid.fleet.predecessor import succeeding
from reelgrid.fleet.pulse import Pulse
from reelgrid.fleet.scratch import empty_scratch
from reelgrid.fleet.settings import Started
from reelgrid.fleet.worker import Worker
from reelgrid.jobs.sql import SqlDesk, open_desk
from reelgrid.media import Provenance
from reelgrid.media.manifest import sign
from reelgrid.media.signer import signer_of
from reelgrid.settings import Settings
from reelgrid.store.blobs import Blobs

NICENESS = 10
"""How far a worker on the processor stands behind the server beside it, which has to answer at once."""


def live(started: Started, signs: Signs, pulse: Pulse, departure: Departure) -> None:
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
        closing(open_desk(settings.database)) as desk,
        succeeding(settings.scratch, started.name, desk.bury),
    ):
        place = _settle(started, machine, desk, departure, pulse)
        _work(place, machine, settings.models, departure, signs)
        desk.bury(started.name)


def _settle(
    started: Started, machine: Machine, desk: SqlDesk, departure: Departure, pulse: Pulse
) -> Workplace:
    """Return the worker's place, with the first of its models in memory."""
    settings, shelf = started.settings, machine.shelf()
    empty_scratch(settings.scratch)
    for name in settings.models[:1]:
        pulse.enter("load")
        shelf.take(name)
        pulse.rest()
    return Workplace(
        worker=started.name,
        desk=desk,
        blobs=Blobs(settings.blobs),
        shelf=shelf,
        scratch=settings.scratch,
        habits=settings.habits,
        sign=_signing() if settings.is_signed else leave_unsigned,
        journal=Journal(settings.journal, started.name),
        is_leaving=lambda: departure.is_wanted,
        pulse=pulse,
    )


def _work(
    place: Workplace,
    machine: Machine,
    models: tuple[str, ...],
    departure: Departure,
    signs: Signs,
) -> None:
    """Take jobs until told to leave."""
    info = machine.info(place.worker, frozenset(models) or None, place.shelf)
    worker = Worker(place, info, departure.wake)
    departure.begin(worker.give_up)
    place.journal.note("ready", pid=os.getpid())
    signs.ready()
    worker.work()
    departure.left()
    place.journal.note("left")


def _refuse_what_never_fits(models: tuple[str, ...], machine: Machine) -> None:
    for name in models:
        need_gib = needed_gib(name)
        if need_gib is not None and machine.device.type == "cuda" and need_gib > machine.memory_gib:
            raise NoRoomError(
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
    signer_of(settings)

    def sign_now(path: Path, provenance: Provenance, *, sources: Sequence[Path]) -> None:
        sign(path, provenance, signer_of(settings), sources=sources)

    return sign_now
