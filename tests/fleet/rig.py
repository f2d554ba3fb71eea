"""A desk, a store and workers in one process, with the tiny models."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reelgrid.fleet.habits import Habits
from reelgrid.fleet.journal import Journal
from reelgrid.fleet.place import Workplace
from reelgrid.fleet.shelf import Shelf
from reelgrid.fleet.worker import Worker
from reelgrid.jobs.database import Database
from reelgrid.jobs.job import Job, Kind, NewJob
from reelgrid.jobs.migrations import migrate
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.sql import SqlDesk
from reelgrid.jobs.work import Answer, Claim, WorkerInfo
from reelgrid.spec import Request
from reelgrid.store.blobs import Blobs

PROMPT = "a red ball rolls to the right"


class ScriptedDesk(SqlDesk):
    """The desk itself; a test may do something of its own each time a worker asks at a step."""

    on_signal: Callable[[Claim], object] = staticmethod(lambda claim: None)

    def signal(self, claim: Claim) -> Answer:
        self.on_signal(claim)
        return super().signal(claim)


class Rig:
    def __init__(self, folder: Path, model) -> None:
        self.folder = folder
        self.model = model
        database = Database(folder / "desk.sqlite")
        migrate(database)
        self.desk = ScriptedDesk(database)
        self.blobs = Blobs(folder / "blobs")
        self.journal = folder / "journal.jsonl"
        self.departing = threading.Event()

    def order(self, num_steps=4, seed=3, card=None, **changes) -> JobRequest:
        request = Request(PROMPT, seed=seed, num_steps=num_steps, **changes.pop("request", {}))
        return JobRequest(request=(card or self.model.card).complete(request), **changes)

    def submit(self, order: JobRequest | None = None, **changes) -> Job:
        order = order or self.order()
        job = {
            "kind": Kind.IMAGE if order.request.is_image else Kind.VIDEO,
            "owner": "local",
            "model": "tiny",
            "request": order.to_json(),
            "estimate_s": 0.1 * order.num_steps,
            "memory_gib": 0.1,
            "num_steps": order.num_steps,
            "clip_s": 1.0,
            "inputs": order.inputs,
        }
        return self.desk.submit(NewJob(**{**job, **changes}))

    def place(self, name: str, **changes) -> Workplace:
        scratch = self.folder / f"scratch-{name}"
        scratch.mkdir(exist_ok=True)
        habits = {"save_every_s": 0.0, "preview_every_s": None, **changes.pop("habits", {})}
        parts = {
            "worker": name,
            "desk": self.desk,
            "blobs": self.blobs,
            "shelf": self.shelf(),
            "scratch": scratch,
            "habits": Habits(**habits),
            "journal": Journal(self.journal, name),
            "is_leaving": self.departing.is_set,
        }
        return Workplace(**{**parts, **changes})

    def shelf(self, load=None) -> Shelf:
        return Shelf(
            load or (lambda name: self.model), lambda: 1e9, lambda name: None, lambda: None
        )

    def worker(self, name: str = "one", **changes) -> Worker:
        place = self.place(name, **changes)

        def info() -> WorkerInfo:
            warm = place.shelf.names
            return WorkerInfo(id=name, machine="here", memory_gib=8.0, warm_models=warm)

        return Worker(place, info, threading.Event())

    def at_step(self, number: int, act: Callable[[Claim], object]) -> None:
        """Do something once, when the worker asks after `number` steps have been made in all."""

        def on_signal(claim: Claim) -> None:
            if len(self.steps()) == number:
                self.desk.on_signal = lambda claim: None
                act(claim)

        self.desk.on_signal = on_signal

    def events(self, kind: str) -> list[dict[str, Any]]:
        if not self.journal.exists():
            return []
        lines = map(json.loads, self.journal.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["event"] == kind]

    def steps(self, job: str | None = None) -> list[int]:
        return [line["step"] for line in self.events("step") if job in (None, line["job"])]

    def content(self, job_id: str, variant: str = "video") -> bytes:
        return self.blobs.read(self.desk.get(job_id).files[variant])

    def names(self, prefix: str = "") -> list[str]:
        return [blob.name for blob in self.blobs.list(prefix)]

    def whole(self, order: JobRequest | None = None, variant: str = "video") -> bytes:
        """What an uninterrupted worker makes of an order."""
        job = self.submit(order)
        journal = Journal(None, "")
        while self.desk.get(job.id).files == {}:
            assert self.worker("whole", journal=journal).work_once()
        return self.content(job.id, variant)
