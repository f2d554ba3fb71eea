"""An API over a real job queue and a real blob store, and a fake worker that makes grey clips at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from reelgrid import catalog
from reelgrid.api.app import create_app
from reelgrid.api.auth import Authenticator, LinkSigner
from reelgrid.api.estimates import Estimator
from reelgrid.api.events import JobBroadcaster
from reelgrid.api.metrics import ServerMetrics
from reelgrid.api.service import ServedModels, ServerLimits, Service
from reelgrid.jobs.job import Job
from reelgrid.jobs.messages import Claim, JobProgress, Timing, WorkerInfo
from reelgrid.jobs.request import JobRequest, file_variant, partial_blob
from reelgrid.jobs.sql.keys import ApiKeys
from reelgrid.jobs.sql.sql_queue import SqlJobQueue, open_job_queue
from reelgrid.media import Provenance, write_clip, write_image
from reelgrid.store.blobs import Blobs

EMBEDDED = catalog.find("embedded")
assert EMBEDDED is not None
WORKER = WorkerInfo(
    id="fake", machine="a test", memory_gib=4.0, warm_models=frozenset({"embedded"})
)
ORIGIN = Provenance(prompt="a test", seed=0, model="none", software="test")


@dataclass
class FakeWorker:
    """A worker without an engine: every step is one call."""

    job_queue: SqlJobQueue
    blobs: Blobs
    folder: Path

    def take(self) -> Claim | None:
        return self.job_queue.claim(WORKER)

    def step(self, claim: Claim, step: int) -> None:
        preview = self.picture(f"previews/{claim.id}/{step}.webp")
        self.job_queue.heartbeat(claim, JobProgress(stage="denoise", step=step, preview=preview))

    def finish(self, claim: Claim) -> Job:
        order = JobRequest.from_json(claim.job.request)
        if claim.job.kind == "image":
            files = {}
            for number in range(order.num_images):
                for k in range(order.num_partial_images):
                    self.picture(partial_blob(claim.id, number, k))
                name = f"files/{claim.id}/{file_variant(number)}.{order.image_format}"
                files[file_variant(number)] = self.picture(name)
        else:
            files = {
                "video": self.clip(f"files/{claim.id}/video.mp4", order.request.num_frames or 1),
                "thumbnail": self.picture(f"files/{claim.id}/thumbnail.webp"),
                "spritesheet": self.picture(f"files/{claim.id}/spritesheet.webp"),
            }
        timing = Timing(workload=order.workload, step_s=0.1, decode_s=0.2)
        return self.job_queue.finish(claim, files, timing=timing)

    def work_off(self) -> int:
        """Finish all waiting jobs; return how many there were."""
        num = 0
        while (claim := self.take()) is not None:
            self.finish(claim)
            num += 1
        return num

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Finish every job in a thread while the block runs."""
        is_over = threading.Event()

        def work() -> None:
            while not is_over.wait(0.02):
                self.work_off()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def picture(self, name: str) -> str:
        file = self.folder / f"picture.{name.rpartition('.')[2]}"
        write_image(np.full((64, 64, 3), 128, np.uint8), file, provenance=ORIGIN)
        self.blobs.put(name, file)
        return name

    def clip(self, name: str, num_frames: int) -> str:
        file = self.folder / "clip.mp4"
        frames = np.full((num_frames, 128, 128, 3), 128, np.uint8)
        write_clip(frames, file, fps=8.0, provenance=ORIGIN)
        self.blobs.put(name, file)
        return name


@dataclass
class ApiServer:
    """The service with its parts at hand."""

    service: Service
    job_queue: SqlJobQueue
    keys: ApiKeys
    worker: FakeWorker
    woken: list[None] = field(default_factory=list)

    def client(self, **headers: str) -> TestClient:
        return TestClient(
            create_app(self.service),
            base_url="http://localhost",
            headers=headers,
            raise_server_exceptions=False,
        )


Build = Callable[..., ApiServer]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Make an API; keyword arguments change its service, `is_open=False` makes it require a key."""
    job_queue = open_job_queue(tmp_path / "jobs.sqlite")
    blobs = Blobs(tmp_path / "blobs")
    (tmp_path / "making").mkdir()

    def make(*, is_open: bool = True, **changes: Any) -> ApiServer:
        keys = ApiKeys(job_queue.database)
        woken: list[None] = []
        parts: dict[str, Any] = {
            "job_queue": job_queue,
            "blobs": blobs,
            "models": ServedModels((EMBEDDED,)),  # type: ignore[arg-type]  # asserted above
            "authenticator": Authenticator(keys, may_be_open=is_open),
            "limits": ServerLimits(),
            "estimator": Estimator(job_queue),
            "broadcaster": JobBroadcaster(job_queue.get_many),
            "metrics": ServerMetrics(job_queue),
            "link_signer": LinkSigner(b"0123456789abcdef"),
            "version": "0.0.0",
            "wake": lambda: woken.append(None),
        }
        service = Service(**{**parts, **changes})
        return ApiServer(
            service, job_queue, keys, FakeWorker(job_queue, blobs, tmp_path / "making"), woken
        )

    yield make
    job_queue.close()


@pytest.fixture
def api(build: Build) -> ApiServer:
    """An API that needs no key."""
    return build()


@pytest.fixture
def client(api: ApiServer) -> Iterator[TestClient]:
    """A client of the API."""
    with api.client() as client:
        yield client
