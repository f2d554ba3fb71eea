"""A job queue, a store and workers in one process, with the tiny models."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reelgrid.jobs.job import Job, JobKind, NewJob
from reelgrid.jobs.messages import Claim, Command, WorkerInfo
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.migrations import migrate
from reelgrid.jobs.sql.sql_queue import SqlJobQueue
from reelgrid.spec import Request
from reelgrid.store.blobs import Blobs
from reelgrid.workers.context import Trace, WorkerContext
from reelgrid.workers.model_cache import ModelCache
from reelgrid.workers.settings import WorkerIntervals
from reelgrid.workers.worker import Worker

PROMPT = "a red ball rolls to the right"


class ScriptedQueue(SqlJobQueue):
    """The job queue; a test may add an action at each step at which a worker reads its command."""

    on_poll: Callable[[Claim], object] = staticmethod(lambda claim: None)

    def poll_command(self, claim: Claim) -> Command:
        self.on_poll(claim)
        return super().poll_command(claim)


class Rig:
    def __init__(self, folder: Path, model) -> None:
        self.folder = folder
        self.model = model
        database = Database(folder / "jobs.sqlite")
        migrate(database)
        self.job_queue = ScriptedQueue(database)
        self.blobs = Blobs(folder / "blobs")
        self.trace = folder / "trace.jsonl"
        self.stopping = threading.Event()

    def job_request(self, num_steps=4, seed=3, card=None, **changes) -> JobRequest:
        request = Request(PROMPT, seed=seed, num_steps=num_steps, **changes.pop("request", {}))
        return JobRequest(request=(card or self.model.card).complete(request), **changes)

    def submit(self, job_request: JobRequest | None = None, **changes) -> Job:
        job_request = job_request or self.job_request()
        job = {
            "kind": JobKind.IMAGE if job_request.request.is_image else JobKind.VIDEO,
            "owner": "local",
            "model": "tiny",
            "request": job_request.to_json(),
            "estimate_s": 0.1 * job_request.num_steps,
            "memory_gib": 0.1,
            "num_steps": job_request.num_steps,
            "clip_s": 1.0,
            "inputs": job_request.inputs,
        }
        return self.job_queue.submit(NewJob(**{**job, **changes}))

    def context(self, name: str, **changes) -> WorkerContext:
        scratch = self.folder / f"scratch-{name}"
        scratch.mkdir(exist_ok=True)
        intervals = {
            "checkpoint_every_s": 0.0,
            "preview_every_s": None,
            **changes.pop("intervals", {}),
        }
        parts = {
            "worker": name,
            "job_queue": self.job_queue,
            "blobs": self.blobs,
            "model_cache": self.model_cache(),
            "scratch": scratch,
            "intervals": WorkerIntervals(**intervals),
            "trace": Trace(self.trace, name),
            "is_stopping": self.stopping.is_set,
        }
        return WorkerContext(**{**parts, **changes})

    def model_cache(self, load=None) -> ModelCache:
        return ModelCache(
            load or (lambda name: self.model), lambda: 1e9, lambda name: None, lambda: None
        )

    def worker(self, name: str = "one", **changes) -> Worker:
        context = self.context(name, **changes)

        def info() -> WorkerInfo:
            warm = context.model_cache.names
            return WorkerInfo(id=name, machine="here", memory_gib=8.0, warm_models=warm)

        return Worker(context, info, threading.Event())

    def at_step(self, number: int, act: Callable[[Claim], object]) -> None:
        """Do something once, when the worker reads its command after `number` steps in total."""

        def on_poll(claim: Claim) -> None:
            if len(self.steps()) == number:
                self.job_queue.on_poll = lambda claim: None
                act(claim)

        self.job_queue.on_poll = on_poll

    def events(self, kind: str) -> list[dict[str, Any]]:
        if not self.trace.exists():
            return []
        lines = map(json.loads, self.trace.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["event"] == kind]

    def steps(self, job: str | None = None) -> list[int]:
        return [line["step"] for line in self.events("step") if job in (None, line["job"])]

    def content(self, job_id: str, variant: str = "video") -> bytes:
        return self.blobs.read(self.job_queue.get(job_id).files[variant])

    def names(self, prefix: str = "") -> list[str]:
        return [blob.name for blob in self.blobs.list(prefix)]

    def whole(self, job_request: JobRequest | None = None, variant: str = "video") -> bytes:
        """The result of an uninterrupted worker for a job request."""
        job = self.submit(job_request)
        trace = Trace(None, "")
        while self.job_queue.get(job.id).files == {}:
            assert self.worker("whole", trace=trace).run_once()
        return self.content(job.id, variant)
