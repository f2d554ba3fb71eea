"""Authentication: keys, their own jobs, this machine without keys, signed links; and no secrets in logs."""

import logging
from typing import Any

import pytest
from fastapi.testclient import TestClient

from reelgrid.api.auth import REMEMBERED_S, Authenticator, LinkSigner
from reelgrid.jobs.sql.keys import ApiKeys
from tests.api.conftest import ApiServer, Build

ROUTES = [
    ("POST", "/v1/videos"),
    ("GET", "/v1/videos"),
    ("POST", "/v1/estimates"),
    ("POST", "/v1/images/generations"),
    ("GET", "/v1/models"),
    ("GET", "/metrics"),
    ("GET", "/v1/videos/video_" + 24 * "0"),
    ("GET", "/v1/videos/video_" + 24 * "0" + "/events"),
    ("GET", "/v1/images/image_" + 24 * "0" + "/content"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer rg_" + 43 * "x", "Basic eDp5", "Bearer \xff"]
)
def test_without_a_known_key_every_request_is_refused(
    build: Build, method: str, path: str, given: str | None
) -> None:
    api = build(is_open=False)
    headers = {} if given is None else {"authorization": given.encode("latin-1")}
    with api.client() as client:
        answer = client.request(method, path, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 401, answer.text
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_health_and_readiness_need_no_key(build: Build) -> None:
    with build(is_open=False).client() as client:
        assert client.get("/health").json()["status"] == "ok"
        assert client.get("/ready").status_code == 503  # no worker has reported


def test_each_key_sees_its_own_jobs_only(build: Build) -> None:
    api = build(is_open=False)
    keys = [api.keys.create(name)[1] for name in ("one", "other")]
    one, other = (api.client(Authorization=f"Bearer {key}") for key in keys)
    with one, other:
        job = one.post("/v1/videos", json={"prompt": "x"}).json()["id"]
        api.worker.work_off()
        path = f"/v1/videos/{job}"
        tries: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", path, {}),
            ("GET", f"{path}/content", {}),
            ("GET", f"{path}/preview", {}),
            ("GET", f"{path}/events", {}),
            ("POST", f"{path}/cancel", {}),
            ("POST", f"{path}/pause", {}),
            ("POST", f"{path}/resume", {}),
            ("POST", f"{path}/remix", {"json": {"prompt": "y"}}),
            ("DELETE", path, {}),
            ("GET", f"/v1/videos?after={job}", {}),
            (
                "POST",
                "/v1/videos/extensions",
                {"json": {"prompt": "y", "seconds": 2, "video_id": job}},
            ),
            ("POST", "/v1/videos", {"json": {"prompt": "y", "input_reference": {"file_id": job}}}),
        ]
        for method, tried, body in tries:
            assert other.request(method, tried, **body).status_code == 404, tried
        assert other.get("/v1/videos").json()["data"] == []
        assert [video["id"] for video in one.get("/v1/videos").json()["data"]] == [job]


def test_a_revoked_key_works_for_seconds_at_most(build: Build) -> None:
    api = build()
    now = [0.0]
    authenticator = Authenticator(api.keys, may_be_open=False, clock=lambda: now[0])
    key, secret = api.keys.create("x")
    assert authenticator.find(secret) is not None
    api.keys.revoke(key.name)
    assert authenticator.known(secret) is not None
    now[0] += REMEMBERED_S
    assert authenticator.known(secret) is None
    assert authenticator.find(secret) is None


def test_a_key_is_needed_from_the_first_one_that_is_made(build: Build) -> None:
    api = build()
    now = [0.0]
    authenticator = Authenticator(api.keys, may_be_open=True, clock=lambda: now[0])
    assert authenticator.was_open is None
    assert authenticator.is_open()
    assert authenticator.was_open
    key, _ = api.keys.create("x")
    now[0] += REMEMBERED_S
    assert authenticator.was_open is None
    assert not authenticator.is_open()
    api.keys.revoke(key.name)
    assert authenticator.was_open is False


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "testserver"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"host": "["},
        {"host": "127.0.0.1.evil.example"},
    ],
)
def test_without_keys_requests_of_web_pages_are_refused(
    client: TestClient, headers: dict[str, str]
) -> None:
    answer = client.post("/v1/videos", json={"prompt": "x"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_local")
    local = {"host": "localhost:8000", "origin": "http://127.0.0.1:3000"}
    assert client.post("/v1/videos", json={"prompt": "x"}, headers=local).status_code == 200


def test_a_link_is_valid_for_its_path_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = LinkSigner(b"0123456789abcdef")
    now = [1_000_000.0]
    monkeypatch.setattr("reelgrid.api.auth.time.time", lambda: now[0])
    query = dict(part.split("=") for part in signer.query("/a").split("&"))
    expires, signature = int(query["expires"]), query["signature"]
    assert signer.is_valid("/a", expires, signature)
    assert not signer.is_valid("/b", expires, signature)
    assert not signer.is_valid("/a", expires + 1, signature)
    assert not signer.is_valid("/a", expires, "\xff")
    assert not LinkSigner(b"fedcba9876543210").is_valid("/a", expires, signature)
    now[0] += 3_601
    assert not signer.is_valid("/a", expires, signature)


def test_secrets_and_prompts_are_never_logged(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api = build(is_open=False)
    _, key = api.keys.create("x")
    with api.client(Authorization=f"Bearer {key}") as client, api.worker.at_work():
        client.post("/v1/videos", json={"prompt": "a secret prompt"})
        client.post("/v1/videos", json={"prompt": "a secret prompt", "output_path": "secret"})
        client.post("/v1/videos", content=b"secret", headers={"content-type": "application/json"})
        client.post("/v1/images/generations", json={"prompt": "a secret prompt"})
    api.job_queue.close()
    api.service.blobs.put = broken  # type: ignore[assignment,method-assign]
    with api.client(Authorization=f"Bearer {key}") as client:
        client.get("/ready")
    logged = "\n".join(
        logging.Formatter("%(message)s").format(record) + str(vars(record))
        for record in caplog.records
    )
    assert "POST /v1/videos: 200" in logged
    assert key not in logged
    assert "secret" not in logged


def broken(*_: object) -> None:
    raise OSError("secret")


def test_a_crash_is_logged_with_the_request_that_it_answers(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    with build(check_space=lambda: 1 / 0).client() as client:
        answer = client.post("/v1/videos", json={"prompt": "x"}, headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert [vars(record)["request_id"] for record in caplog.records if record.exc_info] == [
        "mine-1"
    ]


def test_a_request_id_that_is_no_id_is_replaced(client: TestClient) -> None:
    answer = client.get("/health", headers={"x-request-id": "a b\tc"})
    assert answer.headers["x-request-id"].startswith("req_")


def test_the_keys_themselves_are_not_in_the_database(api: ApiServer) -> None:
    _, secret = ApiKeys(api.job_queue.database).create("x")
    api.job_queue.close()
    file = api.worker.folder.parent / "jobs.sqlite"
    parts = [part.read_bytes() for part in file.parent.glob("jobs.sqlite*")]
    assert file.exists()
    assert not any(secret.encode() in part for part in parts)
