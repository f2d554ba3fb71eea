"""Server-sent events: their content, their end, and one reader for all listeners."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from reelgrid.api import control
from reelgrid.api.events import JobBroadcaster, Listener
from reelgrid.api.service import ServerLimits
from reelgrid.errors import BusyError
from reelgrid.jobs.job import Job
from tests.api.conftest import ApiServer, Build


def job_of(client: TestClient, api: ApiServer) -> Job:
    return api.job_queue.get(client.post("/v1/videos", json={"prompt": "x"}).json()["id"])


def parsed(event: bytes) -> tuple[str, dict[str, Any]]:
    lines = dict(line.split(": ", 1) for line in event.decode().strip().splitlines())
    return lines["event"], json.loads(lines["data"])


async def told(events: AsyncIterator[bytes]) -> tuple[str, dict[str, Any]]:
    return parsed(await anext(events))


def test_a_listener_gets_state_progress_and_preview_until_the_end(
    client: TestClient, api: ApiServer
) -> None:
    job = job_of(client, api)

    async def follow() -> None:
        events = control._events(api.service, job, None)
        name, video = await told(events)
        assert (name, video["status"], video["queue_position"]) == ("state", "queued", 1)
        claim = api.worker.take()
        assert claim is not None
        name, video = await told(events)
        assert (name, video["status"]) == ("state", "in_progress")
        api.worker.step(claim, 3)
        name, progress = await told(events)
        assert (name, progress["step"], progress["progress"]) == ("progress", 3, 50)
        name, preview = await told(events)
        assert (name, preview["step"]) == ("preview", 3)
        assert preview["image_url"].startswith("data:image/webp;base64,")
        api.worker.finish(claim)
        name, video = await told(events)
        assert (name, video["status"], video["progress"]) == ("state", "completed", 100)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        assert api.service.broadcaster.num_listeners == 0

    asyncio.run(follow())


def test_a_listener_that_reconnects_gets_the_present_state_unless_it_has_seen_it(
    client: TestClient, api: ApiServer
) -> None:
    job = job_of(client, api)
    api.worker.work_off()
    path = f"/v1/videos/{job.id}/events"
    text = client.get(path).text
    assert text.startswith("event: state\n")
    number = text.splitlines()[1].removeprefix("id: ")
    assert "event: state" not in client.get(path, headers={"last-event-id": number}).text


def test_a_quiet_stream_sends_comments(
    client: TestClient, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "COMMENT_EVERY_S", 0.05)
    job = job_of(client, api)

    async def follow() -> None:
        events = control._events(api.service, job, None)
        await anext(events)
        assert (await anext(events)).startswith(b": ")
        await events.aclose()  # type: ignore[attr-defined]  # a generator

    asyncio.run(follow())


def test_streams_of_a_deleted_job_and_of_a_stopping_server_end(
    client: TestClient, api: ApiServer
) -> None:
    one, other = job_of(client, api), job_of(client, api)

    async def follow() -> None:
        events = control._events(api.service, one, None)
        await anext(events)
        client.delete(f"/v1/videos/{one.id}")
        assert await told(events) == ("deleted", {"id": one.id})
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        events = control._events(api.service, other, None)
        await anext(events)
        api.service.broadcaster.close()
        with pytest.raises(StopAsyncIteration):
            await anext(events)

    asyncio.run(follow())


def test_a_stream_beyond_the_limit_of_listeners_is_429(build: Build) -> None:
    api = build(limits=ServerLimits(max_listeners=1))

    async def follow(client: TestClient) -> None:
        job = job_of(client, api)
        async with api.service.broadcaster.listen(job):
            answer = await asyncio.to_thread(client.get, f"/v1/videos/{job.id}/events")
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "max_listeners")

    with api.client() as client:
        asyncio.run(follow(client))


def test_a_hundred_listeners_cost_one_reader_and_survive_a_busy_database(
    client: TestClient, api: ApiServer
) -> None:
    job = job_of(client, api)
    reads: list[list[str]] = []

    def get_many(job_ids: Collection[str]) -> dict[str, Job]:
        reads.append(list(job_ids))
        if len(reads) == 1:
            raise BusyError("locked")
        if len(reads) == 3:
            return {}
        return {job.id: replace(job, step=len(reads))}

    async def follow() -> list[Listener]:
        hub = JobBroadcaster(get_many)
        async with _AllOf(hub, job, 100) as listeners:
            await asyncio.gather(*(gone(each) for each in listeners))
            return listeners

    listeners = asyncio.run(follow())
    assert reads == [[job.id]] * 3
    assert all(each.job is not None and each.job.step == 2 for each in listeners)


def test_listeners_of_several_jobs_cost_one_query(client: TestClient, api: ApiServer) -> None:
    jobs = [job_of(client, api) for _ in range(5)]
    reads: list[set[str]] = []

    def get_many(job_ids: Collection[str]) -> dict[str, Job]:
        reads.append(set(job_ids))
        return {}

    async def follow() -> None:
        broadcaster = JobBroadcaster(get_many)
        async with contextlib.AsyncExitStack() as stack:
            listeners = [await stack.enter_async_context(broadcaster.listen(job)) for job in jobs]
            await asyncio.gather(*map(gone, listeners))

    asyncio.run(follow())
    assert reads == [{job.id for job in jobs}]


async def gone(listener: Listener) -> None:
    while not listener.is_gone:
        await listener.wait(5)


class _AllOf:
    """Many listeners of one job."""

    def __init__(self, hub: JobBroadcaster, job: Job, num: int) -> None:
        self._all = [hub.listen(job) for _ in range(num)]

    async def __aenter__(self) -> list[Listener]:
        return [await each.__aenter__() for each in self._all]

    async def __aexit__(self, *error: Any) -> None:
        for each in self._all:
            await each.__aexit__(*error)
