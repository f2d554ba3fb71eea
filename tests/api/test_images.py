"""Images: as base64, as links, as a stream; unsupported fields are refused."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient

from reelgrid.api import images
from reelgrid.api.admission import new_images
from reelgrid.api.auth import Caller
from reelgrid.api.fields import ImageFields
from reelgrid.jobs.job import LOCAL_OWNER, Job, NewJob, Phase
from tests.api.conftest import ApiServer

PATH = "/v1/images/generations"
MAGIC = {"png": b"\x89PNG", "webp": b"RIFF", "jpeg": b"\xff\xd8\xff"}


@pytest.mark.parametrize("kind", MAGIC)
def test_as_many_images_as_asked_for_in_the_format_asked_for(
    client: TestClient, api: ApiServer, kind: str
) -> None:
    with api.worker.at_work():
        answer = client.post(PATH, json={"prompt": "x", "n": 2, "output_format": kind, "seed": 5})
    said = answer.json()
    assert answer.status_code == 200, said
    pictures = [base64.b64decode(each["b64_json"]) for each in said["data"]]
    assert [picture[: len(MAGIC[kind])] for picture in pictures] == [MAGIC[kind]] * 2
    assert (said["output_format"], said["size"], said["seed"]) == (kind, "128x128", 5)


def test_an_image_is_ranked_before_videos(client: TestClient, api: ApiServer) -> None:
    first = client.post("/v1/videos", json={"prompt": "x"}).json()["id"]
    with api.worker.at_work():
        client.post(PATH, json={"prompt": "x"})
    jobs = api.job_queue.list(order="asc").jobs
    assert jobs[0].id == first
    assert jobs[1].rank < jobs[0].rank


def test_a_signed_link_gives_the_image_without_a_key(client: TestClient, api: ApiServer) -> None:
    with api.worker.at_work():
        said = client.post(PATH, json={"prompt": "x", "response_format": "url", "n": 2}).json()
    api.keys.create("x")  # from now on a key is needed
    api.service.authenticator.__init__(api.keys, may_be_open=False)  # type: ignore[misc]
    urls = [each["url"] for each in said["data"]]
    for url in urls:
        assert client.get(url).content[:4] == b"\x89PNG"
    assert client.get(urls[0].replace("index=0", "index=1")).status_code == 401
    assert client.get(urls[0].replace("signature=", "signature=0")).status_code == 401


def test_a_stream_contains_partial_images_and_then_each_image(
    client: TestClient, api: ApiServer
) -> None:
    body = {"prompt": "x", "n": 2, "stream": True, "partial_images": 2}
    with api.worker.at_work():
        text = client.post(PATH, json=body).text
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    events: list[dict[str, Any]] = [json.loads(line) for line in lines[:-1]]
    kinds = [(event["type"].rpartition(".")[2], event["image_index"]) for event in events]
    assert sorted(kinds[:4]) == [("partial_image", 0)] * 2 + [("partial_image", 1)] * 2
    assert kinds[4:] == [("completed", 0), ("completed", 1)]
    assert all(event["usage"]["total_tokens"] == 0 for event in events[4:])


def test_a_failed_image_is_422_that_clients_do_not_repeat(
    client: TestClient, api: ApiServer
) -> None:
    take = api.worker.take

    def fail() -> int:
        claim = take()
        if claim is not None:
            api.job_queue.fail(claim, "generation_failed", "no")
        return 0

    api.worker.work_off = fail  # type: ignore[method-assign]
    with api.worker.at_work():
        answer = client.post(PATH, json={"prompt": "x"})
        stream = client.post(PATH, json={"prompt": "x", "stream": True}).text
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "generation_failed")
    assert answer.headers["x-should-retry"] == "false"
    assert '"code": "generation_failed"' in stream


def test_an_image_that_takes_too_long_is_cancelled(
    client: TestClient, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "LONGEST_WAIT_S", 0.0)
    answer = client.post(PATH, json={"prompt": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "image_timeout")
    assert api.job_queue.list().jobs[0].phase is Phase.FAILED


def test_a_client_that_leaves_a_stream_cancels_the_job_without_blocking_the_event_loop(
    client: TestClient, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = api.job_queue.cancel
    threads: list[int] = []

    def noted(job_id: str) -> Job:
        threads.append(threading.get_ident())
        return cancel(job_id)

    monkeypatch.setattr(api.job_queue, "cancel", noted)
    job = api.job_queue.submit(image_job(api))

    async def leave() -> int:
        stream = images._ImageStream(
            api.service, job, ImageFields.model_validate({"prompt": "x", "stream": True})
        )
        async with anyio.create_task_group() as group:
            group.start_soon(read_all, stream.events())
            while not api.service.broadcaster.num_listeners:
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        return threading.get_ident()

    loop_thread = asyncio.run(leave())
    assert api.job_queue.get(job.id).phase is Phase.FAILED
    assert threads
    assert loop_thread not in threads


def image_job(api: ApiServer) -> NewJob:
    card = api.service.models.find("embedded")
    fields = ImageFields.model_validate({"prompt": "x", "stream": True})
    return new_images(api.service, Caller(LOCAL_OWNER), card, fields)


async def read_all(events: AsyncIterator[bytes]) -> None:
    async for _ in events:
        pass


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quality", "high"),
        ("background", "transparent"),
        ("moderation", "auto"),
        ("output_format", "svg"),
        ("output_format", "gif"),
        ("style", "vivid"),
        ("frame_count", 2),
        ("output_compression", 50),
        ("partial_images", 1),
        ("complexity", "low"),
    ],
)
def test_an_unsupported_field_is_refused_by_name(
    client: TestClient, field: str, value: object
) -> None:
    error = client.post(PATH, json={"prompt": "x", field: value}).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_capability", field)


def test_a_value_that_means_the_default_is_accepted(client: TestClient, api: ApiServer) -> None:
    body = {"prompt": "x", "quality": "auto", "background": "opaque", "moderation": "low"}
    with api.worker.at_work():
        said = client.post(PATH, json={**body, "size": "auto", "user": "me"}).json()
    assert said["safety_identifier"] == "me"


def test_editing_is_refused_with_the_reason(client: TestClient) -> None:
    files: Any = {"prompt": (None, "x"), "image[]": ("a.png", b"x", "image/png")}
    error = client.post("/v1/images/edits", files=files).json()["error"]
    assert error["code"] == "unsupported_capability"
