"""The videos of the openai package over plain HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO
from types import SimpleNamespace
from typing import Any, NoReturn

import av
import pytest
from fastapi.testclient import TestClient

from reelgrid.api import first_frame
from reelgrid.api.middleware import NUM_WRITERS
from reelgrid.errors import BusyError
from reelgrid.jobs.job import Job, Phase
from reelgrid.media.upload import read_uploaded_image
from tests.api.conftest import ApiServer, Build

BODY = {"prompt": "a red ball", "seconds": "2", "seed": 7}
FORM = {name: (None, str(value)) for name, value in BODY.items()}


def ask(client: TestClient, **fields: object) -> str:
    answer = client.post("/v1/videos", json={"prompt": "a red ball", **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_a_video_is_requested_generated_and_downloaded(client: TestClient, api: ApiServer) -> None:
    asked = client.post("/v1/videos", json=BODY)
    assert asked.status_code == 200, asked.text
    job = asked.json()
    assert job["status"] == "queued"
    assert (job["seconds"], job["size"], job["seed"]) == ("2.125", "128x128", 7)
    assert job["queue_position"] == 1
    assert 250 <= int(asked.headers["openai-poll-after-ms"]) <= 10_000
    assert api.woken
    assert api.worker.work_off() == 1
    done = client.get(f"/v1/videos/{job['id']}").json()
    assert (done["status"], done["progress"], done["error"]) == ("completed", 100, None)
    file = client.get(f"/v1/videos/{job['id']}/content")
    assert file.headers["content-type"] == "video/mp4"
    with av.open(BytesIO(file.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 17


def test_json_and_a_form_make_the_same_request(client: TestClient, api: ApiServer) -> None:
    for answer in (client.post("/v1/videos", json=BODY), client.post("/v1/videos", files=FORM)):
        assert answer.status_code == 200, answer.text
    one, two = (job.request for job in api.job_queue.list().jobs)
    assert one == two


def test_progress_is_the_share_of_steps_that_are_done(client: TestClient, api: ApiServer) -> None:
    job_id = ask(client, num_inference_steps=8)
    claim = api.worker.take()
    assert claim is not None
    api.worker.step(claim, 2)
    seen = client.get(f"/v1/videos/{job_id}").json()
    assert (seen["status"], seen["progress"], seen["step"]) == ("in_progress", 25, 2)
    assert seen["eta_seconds"]["low"] < seen["eta_seconds"]["likely"] < seen["eta_seconds"]["high"]
    assert client.get(f"/v1/videos/{job_id}/preview").headers["reelgrid-step"] == "2"


def test_a_failed_job_is_not_a_failed_request(client: TestClient, api: ApiServer) -> None:
    job_id = ask(client)
    claim = api.worker.take()
    assert claim is not None
    api.job_queue.fail(claim, "out_of_memory", "too large")
    answer = client.get(f"/v1/videos/{job_id}")
    assert answer.status_code == 200
    assert answer.json()["status"] == "failed"
    assert answer.json()["error"] == {"code": "out_of_memory", "message": "too large"}
    refused = client.get(f"/v1/videos/{job_id}/content")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "video_not_completed")


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_follow_each_other_by_last_id_even_within_one_second(
    client: TestClient, order: str
) -> None:
    ids = [ask(client) for _ in range(5)]
    seen: list[str] = []
    after: dict[str, str] = {}
    for _ in range(3):
        page = client.get("/v1/videos", params={"limit": 2, "order": order, **after}).json()
        seen += [video["id"] for video in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], seen[-1])
        after = {"after": page["last_id"]}
    assert page["has_more"] is False
    assert seen == (ids if order == "asc" else ids[::-1])


def test_a_deleted_video_is_gone_with_its_files(client: TestClient, api: ApiServer) -> None:
    job_id = ask(client)
    api.worker.work_off()
    assert api.service.blobs.list(f"files/{job_id}")
    answer = client.delete(f"/v1/videos/{job_id}").json()
    assert answer == {"id": job_id, "object": "video.deleted", "deleted": True}
    assert not api.service.blobs.list(f"files/{job_id}")
    assert client.get(f"/v1/videos/{job_id}").status_code == 404
    assert client.delete(f"/v1/videos/{job_id}").status_code == 404


def test_deleting_a_video_keeps_the_blobs_that_another_needs(
    client: TestClient, api: ApiServer
) -> None:
    picture = api.service.blobs.read(api.worker.picture("other/x.png"))
    files: Any = {"prompt": (None, "x"), "input_reference": ("a.png", picture, "image/png")}
    source = client.post("/v1/videos", files=files).json()["id"]
    api.worker.work_off()
    remix = client.post(f"/v1/videos/{source}/remix", json={"prompt": "y"}).json()["id"]
    (first_frame,) = api.job_queue.get(remix).inputs
    client.delete(f"/v1/videos/{source}")
    assert api.service.blobs.exists(first_frame)
    client.delete(f"/v1/videos/{remix}")
    assert not api.service.blobs.exists(first_frame)


def test_ranges_give_the_bytes_that_they_name(client: TestClient, api: ApiServer) -> None:
    path = f"/v1/videos/{ask(client)}/content"
    api.worker.work_off()
    whole = client.get(path)
    size = len(whole.content)
    for given, start, stop in (
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, size),
        ("bytes=-10", size - 10, size),
        (f"bytes={size - 1}-{size + 99}", size - 1, size),
    ):
        part = client.get(path, headers={"range": given})
        assert part.status_code == 206
        assert part.content == whole.content[start:stop]
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    for given in ("bytes=5-2", "lines=1-2", "bytes=-", "bytes=0-1,5-6"):
        assert client.get(path, headers={"range": given}).content == whole.content
    refused = client.get(path, headers={"range": f"bytes={size}-"})
    assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{size}")
    stale = {"range": "bytes=0-9", "if-range": '"another"'}
    assert client.get(path, headers=stale).status_code == 200
    fresh = {"range": "bytes=0-9", "if-range": whole.headers["etag"]}
    assert client.get(path, headers=fresh).status_code == 206


def test_a_remix_has_the_same_seed_and_another_prompt(client: TestClient, api: ApiServer) -> None:
    source = ask(client, seed=7, num_inference_steps=3)
    early = client.post(f"/v1/videos/{source}/remix", json={"prompt": "blue"})
    assert early.json()["error"]["code"] == "video_not_completed"
    api.worker.work_off()
    remix = client.post(f"/v1/videos/{source}/remix", json={"prompt": "blue"}).json()
    assert (remix["prompt"], remix["seed"], remix["remixed_from_video_id"]) == ("blue", 7, source)
    assert remix["num_inference_steps"] == 3


@pytest.mark.parametrize(
    "named",
    [{"video": {"id": "ID"}}, {"video": "ID"}, {"video_id": "ID"}],
    ids=["object", "word", "flat"],
)
def test_the_length_of_an_extension_includes_its_source(
    client: TestClient, api: ApiServer, named: dict[str, object]
) -> None:
    source = ask(client)
    api.worker.work_off()
    told = {
        name: {"id": source} if value == {"id": "ID"} else source for name, value in named.items()
    }
    longer = client.post(
        "/v1/videos/extensions", json={"prompt": "on", "seconds": "2", **told}
    ).json()
    assert longer["seconds"] == f"{(17 + 16) / 8:g}"
    assert longer["extended_from_video_id"] == source
    assert api.job_queue.get(longer["id"]).inputs == (api.job_queue.get(source).files["video"],)
    form = {"prompt": "on", "seconds": "2", "video[id]": source}
    assert client.post("/v1/videos/extensions", data=form).status_code == 200


def test_a_missing_capability_is_refused_with_the_reason(client: TestClient) -> None:
    for path, fields in {
        "edits": {"prompt": "x", "video": {"id": "video_" + 24 * "0"}},
        "characters": {"name": "x", "video": "y"},
    }.items():
        error = client.post(f"/v1/videos/{path}", json=fields).json()["error"]
        assert error["code"] == "unsupported_capability"
        assert "embedded cannot" in error["message"]
    files: Any = {
        "prompt": (None, "x"),
        "seconds": (None, "2"),
        "video": ("a.mp4", b"abc", "video/mp4"),
    }
    error = client.post("/v1/videos/extensions", files=files).json()["error"]
    assert "made here" in error["message"]


def test_an_idempotency_key_gives_one_job_and_another_body_a_conflict(
    client: TestClient, api: ApiServer
) -> None:
    picture = api.service.blobs.read(api.worker.picture("other/x.png"))
    headers = {"idempotency-key": "once"}

    def send(prompt: str) -> tuple[int, str]:
        files: Any = {"prompt": (None, prompt), "input_reference": ("a.png", picture, "image/png")}
        answer = client.post("/v1/videos", files=files, headers=headers)
        return answer.status_code, answer.json().get("id", "")

    assert send("x") == send("x")
    assert len(api.service.blobs.list("inputs/")) == 1
    assert send("y")[0] == 409


def test_nothing_fails_after_the_job_is_inserted(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = build()
    monkeypatch.setattr(api.job_queue, "position_of", unavailable)
    with api.client() as client:
        answer = client.post("/v1/videos", json=BODY)
    assert answer.status_code == 200, answer.text
    assert answer.json()["queue_position"] is None


def unavailable(job: Job) -> NoReturn:
    raise BusyError("locked")


def test_cancel_pause_and_resume_return_the_new_status(client: TestClient, api: ApiServer) -> None:
    job_id = ask(client)
    paused = client.post(f"/v1/videos/{job_id}/pause").json()
    assert (paused["status"], paused["detail"]) == ("queued", "paused")
    assert api.worker.take() is None
    assert client.post(f"/v1/videos/{job_id}/resume").json()["detail"] is None
    claim = api.worker.take()
    assert claim is not None
    going = client.post(f"/v1/videos/{job_id}/cancel").json()
    assert (going["status"], going["detail"]) == ("in_progress", "cancelling")
    assert api.job_queue.release(claim, "cancelled").phase is Phase.FAILED
    gone = client.get(f"/v1/videos/{job_id}").json()
    assert (gone["status"], gone["error"]["code"]) == ("failed", "cancelled")
    refused = client.post(f"/v1/videos/{job_id}/pause")
    assert refused.status_code == 409
    assert refused.headers["x-should-retry"] == "false"


def test_expired_files_are_404_and_say_so(client: TestClient, api: ApiServer) -> None:
    job_id = ask(client)
    api.worker.work_off()
    api.service.blobs.delete(api.job_queue.get(job_id).files["video"])
    assert client.get(f"/v1/videos/{job_id}/content").json()["error"]["code"] == "expired"
    api.job_queue.drop_files(job_id)
    assert client.get(f"/v1/videos/{job_id}/content").json()["error"]["code"] == "expired"


def test_a_leftover_upload_that_cannot_be_removed_fails_no_admitted_job(
    client: TestClient, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = api.service.blobs.read(api.worker.picture("other/x.png"))
    files: Any = {"prompt": (None, "x"), "input_reference": ("a.png", picture, "image/png")}
    headers = {"idempotency-key": "once"}
    first = client.post("/v1/videos", files=files, headers=headers).json()["id"]
    monkeypatch.setattr(api.service.blobs, "delete", out_of_reach)
    again = client.post("/v1/videos", files=files, headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, first)


def out_of_reach(_: str) -> None:
    raise OSError("the store cannot be reached")


def test_the_position_in_the_queue_does_not_depend_on_the_clock_of_the_server(
    client: TestClient, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(client)
    api.job_queue._snapshots._stale_at_s = 0.0
    monkeypatch.setattr("reelgrid.api.admission.time", SimpleNamespace(time=lambda: 0.0))
    assert client.post("/v1/estimates", json=BODY).json()["queue_position"] == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/videos", {"prompt": "x"}), ("/v1/images/generations", {"prompt": "x", "stream": True})],
)
def test_many_writers_leave_threads_for_readers(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, object]
) -> None:
    """At most `NUM_WRITERS` threads are in `submit` at a time; each waits there for others."""
    submit = api.job_queue.submit
    lock = threading.Condition()
    inside = most = 0

    def slow(*args: Any, **named: Any) -> Any:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            lock.notify_all()
            lock.wait_for(lambda: most > NUM_WRITERS, timeout=0.2)
            inside -= 1
        return submit(*args, **named)

    monkeypatch.setattr(api.job_queue, "submit", slow)
    with api.client() as client, api.worker.at_work(), ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: client.post(path, json=body), range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert most <= NUM_WRITERS


def test_an_upload_that_takes_long_to_read_delays_no_other_writer(
    client: TestClient, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = api.service.blobs.read(api.worker.picture("other/x.png"))
    files: Any = {"prompt": (None, "x"), "input_reference": ("a.png", picture, "image/png")}
    is_reading, may_end = threading.Semaphore(0), threading.Event()

    def slow(*args: Any, **named: Any) -> Any:
        is_reading.release()
        may_end.wait(30)
        return read_uploaded_image(*args, **named)

    monkeypatch.setattr(first_frame, "read_uploaded_image", slow)
    with ThreadPoolExecutor(NUM_WRITERS + 1) as pool:
        uploads = [pool.submit(client.post, "/v1/videos", files=files) for _ in range(NUM_WRITERS)]
        for _ in uploads:
            assert is_reading.acquire(timeout=30)
        other = pool.submit(client.post, "/v1/videos", json=BODY)
        is_done = wait([other], timeout=10).done
        may_end.set()
    assert is_done
    assert [upload.result().status_code for upload in uploads] == [200] * NUM_WRITERS
