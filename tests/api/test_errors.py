"""Refusals: OpenAI's error object, the status, and the field to change."""

import json
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from reelgrid.api.bodies import MAX_DEPTH
from reelgrid.api.errors import api_error_of
from reelgrid.api.service import ServerLimits
from reelgrid.errors import RequestError, StorageFullError
from reelgrid.jobs.job import KeyLimits
from tests.api.conftest import ApiServer, Build


def error_of(answer: Any) -> dict[str, Any]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    return dict(error)


def refused(client: TestClient, **fields: object) -> dict[str, Any]:
    answer = client.post("/v1/videos", json={"prompt": "a red ball", **fields})
    assert answer.status_code == 400, answer.text
    return error_of(answer)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"prompt": ""}, "prompt", "1 character"),
        ({"prompt": 5}, "prompt", "string"),
        ({"seconds": "99999"}, "seconds", "out of range"),
        ({"seconds": "4"}, "seconds", "nearest"),
        ({"seconds": "x"}, "seconds", "pattern"),
        ({"size": "720x1280"}, "size", "nearest: 128x128"),
        ({"width": 128}, "width", "together"),
        ({"size": "128x128", "width": 64, "height": 64}, "size", "differ"),
        ({"seconds": "2", "num_frames": 17}, "num_frames", "exclude"),
        ({"num_frames": 18}, "num_frames", "nearest"),
        ({"num_inference_steps": 0}, "num_inference_steps", "greater"),
        ({"num_inference_steps": True}, "num_inference_steps", "whole number"),
        ({"seed": -1}, "seed", "greater"),
        ({"seed": 2**63}, "seed", "less"),
        ({"guidance_scale": "nan"}, "guidance_scale", "guidance_scale"),
        ({"fps": 0}, "fps", "greater"),
        ({"flow_shift": 3}, "flow_shift", "solver"),
        ({"output_path": "/etc/passwd"}, "output_path", "no paths"),
        ({"n": 2}, "n", "more requests"),
        ({"num_inference_step": 5}, "num_inference_step", "did you mean num_inference_steps?"),
        ({"xyzzy": 5}, "xyzzy", "known: prompt"),
        ({"priority": "urgent"}, "priority", "normal"),
        ({"deadline": 1}, "deadline", "cannot be finished"),
        ({"webhook": "file:///etc/passwd"}, "webhook", "http"),
        ({"webhook": "http://user:word@example.org/"}, "webhook", "user"),
        ({"webhook": "http://127.0.0.1/"}, "webhook", "public"),
        ({"webhook": "http://[::ffff:10.0.0.1]/"}, "webhook", "public"),
        ({"input_reference": "/etc/passwd"}, "input_reference", "file"),
        ({"input_reference": {"image_url": "http://10.0.0.1/x.png"}}, "input_reference", "data:"),
        (
            {"input_reference": {"image_url": "data:image/png;base64,%"}},
            "input_reference",
            "base64",
        ),
        ({"input_reference": {"image_url": "x", "file_id": "y"}}, "input_reference", "one of"),
        ({"input_reference": {"path": "/etc/passwd"}}, "path", "no field"),
    ],
)
def test_an_impossible_field_is_named(
    client: TestClient, fields: dict[str, object], param: str, words: str
) -> None:
    error = refused(client, **fields)
    assert error["param"] == param
    assert words in error["message"]


def test_texts_of_a_form_are_checked_like_numbers_of_json(client: TestClient) -> None:
    answer = client.post("/v1/videos", data={"prompt": "x", "num_inference_steps": "two"})
    assert error_of(answer)["param"] == "num_inference_steps"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"prompt": NaN}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"seed": ' + b"9" * 5_000 + b"}",
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
        json.dumps(
            {"prompt": "x", "svg": eval("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2))}
        ).encode(),
        b"\xff\xfe",
    ],
)
def test_a_broken_body_is_a_bad_request(client: TestClient, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/videos", content=body, headers=headers)
    assert answer.status_code == 400
    error_of(answer)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"x"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a]["\r\n\r\n1\r\n--x--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"prompt=%00"),
        ("application/x-www-form-urlencoded", b"a[b]=1&a[b]=2"),
    ],
)
def test_a_broken_form_is_a_bad_request(client: TestClient, kind: str, body: bytes) -> None:
    answer = client.post("/v1/videos", content=body, headers={"content-type": kind})
    assert answer.status_code == 400
    error_of(answer)


def test_a_body_of_another_kind_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/videos", content=b"x", headers={"content-type": "text/xml"})
    assert (answer.status_code, error_of(answer)["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/videos", 405),
        ("GET", "/v1/videos/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/v1/videos/../../jobs.sqlite", 404),
        ("GET", "/v1/videos/%00/content", 404),
        ("GET", "/v1/videos/video_%2e%2e/preview", 404),
        ("GET", "/v1/videos/" + "9" * 5_000, 404),
        ("DELETE", "/v1/videos/image_" + 24 * "0", 404),
        ("GET", "/v1/images/..%2f..%2fjobs.sqlite/content", 404),
        ("GET", "/v1/models/..%2f..%2fetc", 404),
        ("GET", "/v1/videos?limit=0", 400),
        ("GET", "/v1/videos?limit=x", 400),
        ("GET", "/v1/videos?order=up", 400),
        ("GET", "/v1/videos?after=../x", 404),
    ],
)
def test_a_missing_resource_is_an_error_object(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    error_of(answer)


def test_a_crash_is_an_error_object_that_hides_the_exception(build: Build) -> None:
    api = build(check_space=lambda: 1 / 0)
    with api.client() as client:
        answer = client.post("/v1/videos", json={"prompt": "x"})
    assert answer.status_code == 500
    assert "zero" not in answer.text
    assert error_of(answer)["code"] == "internal_error"


@pytest.mark.parametrize(
    ("limits", "fields", "code"),
    [
        ({"max_pixels": 128 * 128 - 1}, {}, "max_pixels"),
        ({"max_frames": 16}, {}, "max_frames"),
        ({"max_steps": 5}, {}, "max_steps"),
    ],
)
def test_caps_of_the_server_are_400_and_of_the_key_403(
    build: Build, limits: dict[str, Any], fields: dict[str, Any], code: str
) -> None:
    capped = build(limits=ServerLimits(**limits))
    with capped.client() as client:
        answer = client.post("/v1/videos", json={"prompt": "x", **fields})
    assert (answer.status_code, error_of(answer)["code"]) == (400, code)
    api = build(is_open=False)
    _, key = api.keys.create("capped", KeyLimits(**limits))
    with api.client(Authorization=f"Bearer {key}") as client:
        answer = client.post("/v1/videos", json={"prompt": "x", **fields})
    assert (answer.status_code, error_of(answer)["code"]) == (403, code)
    assert not api.job_queue.list().jobs


def test_an_exhausted_limit_of_a_key_is_429_with_its_name(build: Build) -> None:
    api = build(is_open=False)
    _, few = api.keys.create("few", KeyLimits(max_jobs=1))
    _, short = api.keys.create("short", KeyLimits(max_gpu_s_per_day=0.001))
    with api.client(Authorization=f"Bearer {few}") as client:
        assert client.post("/v1/videos", json={"prompt": "x"}).status_code == 200
        answer = client.post("/v1/videos", json={"prompt": "x"})
    assert (answer.status_code, error_of(answer)["code"]) == (429, "max_jobs")
    assert int(answer.headers["retry-after"]) > 0
    with api.client(Authorization=f"Bearer {short}") as client:
        answer = client.post("/v1/videos", json={"prompt": "x"})
    assert (answer.status_code, error_of(answer)["code"]) == (429, "max_gpu_s_per_day")


def test_a_long_queue_is_429_with_retry_after(build: Build) -> None:
    api = build()
    with api.client() as client:
        assert client.post("/v1/videos", json={"prompt": "x"}).status_code == 200
    assert api.worker.take() is not None  # it runs: later jobs have to wait
    api.job_queue._snapshots._stale_at_s = 0.0
    api = build(limits=ServerLimits(max_queue_s=1e-3, max_image_wait_s=1e-3))
    with api.client() as client:
        answer = client.post("/v1/videos", json={"prompt": "x"})
        images = client.post("/v1/images/generations", json={"prompt": "x"})
    assert int(images.headers["retry-after"]) >= 1
    assert (answer.status_code, error_of(answer)["code"]) == (429, "max_queue_s")
    assert (images.status_code, error_of(images)["code"]) == (429, "max_image_wait_s")


def test_more_memory_than_any_worker_has_is_refused(build: Build) -> None:
    from dataclasses import replace

    api = build()
    card = replace(api.service.models.cards[0], memory_gib=100.0)
    api.worker.take()
    api = build(models=type(api.service.models)((card,)))
    with api.client() as client:
        error = error_of(client.post("/v1/videos", json={"prompt": "x"}))
    assert error["code"] == "memory_gib"
    assert "largest worker has 4" in error["message"]


def test_full_storage_refuses_new_jobs_with_the_reason(build: Build) -> None:
    def full() -> None:
        raise StorageFullError("the disk has 0.1 GB free")

    api = build(check_space=full)
    with api.client() as client:
        answer = client.post("/v1/videos", json={"prompt": "x"})
        ready = client.get("/ready")
    assert answer.status_code == 503
    assert "0.1 GB" in error_of(answer)["message"]
    assert int(answer.headers["retry-after"]) > 0
    assert (ready.status_code, ready.json()["blobs"]) == (503, "no space: the disk has 0.1 GB free")


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_too_large_is_413_whether_its_length_is_announced_or_not(
    build: Build, is_announced: bool
) -> None:
    api = build(limits=ServerLimits(max_body_bytes=100_000))
    head = b'--x\r\nContent-Disposition: form-data; name="input_reference"; filename="a"\r\n\r\n'
    pieces = [head, *(b"x" * 10_000 for _ in range(20)), b"\r\n--x--\r\n"]
    content = b"".join(pieces) if is_announced else iter(pieces)
    with api.client() as client:
        answer = client.post(
            "/v1/videos",
            content=content,
            headers={"content-type": "multipart/form-data; boundary=x"},
        )
    assert (answer.status_code, error_of(answer)["code"]) == (413, "max_body_bytes")


def test_refusals_are_counted_by_code(client: TestClient) -> None:
    refused(client, seconds="99999")
    refused(client, xyzzy=1)
    text = client.get("/metrics").text
    assert 'reelgrid_api_errors_total{code="unknown_field"} 1.0' in text


def test_a_refusal_names_the_field_as_the_api_calls_it() -> None:
    assert api_error_of(RequestError("too many", param="num_steps")).param == "num_inference_steps"
    assert api_error_of(RequestError("no image", param="first_frame")).param == "input_reference"
    assert api_error_of(RequestError("too large", param="size")).param == "size"


def test_a_refused_request_leaves_no_job_and_no_blob(client: TestClient, api: ApiServer) -> None:
    refused(client, seconds="99999")
    refused(client, input_reference={"image_url": "data:image/png;base64,AAAA"})
    assert not api.job_queue.list().jobs
    assert not api.service.blobs.list()


def test_a_job_that_takes_too_long_is_refused_once_its_time_was_measured(build: Build) -> None:
    api = build(limits=ServerLimits(max_work_s=10.0))
    with api.client() as client:
        long = {"prompt": "x", "num_inference_steps": 500}
        assert client.post("/v1/estimates", json=long).status_code == 200  # a guess refuses nothing
        client.post("/v1/videos", json={"prompt": "x"})
        api.worker.work_off()
    api = build(limits=ServerLimits(max_work_s=10.0))
    with api.client() as client:
        error = error_of(client.post("/v1/videos", json=long))
        assert error["code"] == "max_work_s"
        late = {"prompt": "x", "deadline": time.time() + 0.1}
        assert error_of(client.post("/v1/videos", json=late))["code"] == "deadline_unreachable"
        soon = {"prompt": "x", "deadline": time.time() + 60}
        assert client.post("/v1/videos", json=soon).json()["deadline"] == pytest.approx(
            soon["deadline"], abs=2
        )
