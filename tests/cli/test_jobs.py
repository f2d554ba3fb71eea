"""`reelgrid jobs` and `reelgrid keys`, on a database and over HTTP."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reelgrid import catalog
from reelgrid.api.schemas import Video
from reelgrid.cli import jobs as jobs_module
from reelgrid.cli.app import run
from reelgrid.cli.job_access import DatabaseJobs
from reelgrid.errors import ReelgridError
from reelgrid.jobs.job import NewJob
from reelgrid.jobs.messages import JobProgress
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.sql.keys import ApiKeys
from reelgrid.jobs.sql.sql_queue import SqlJobQueue, open_job_queue
from reelgrid.spec import Request
from tests.api.served import Served
from tests.jobs import builders
from tests.jobs.builders import new_worker


def new_job(prompt: str = "a red ball", **values: Any) -> NewJob:
    """A job as the API submits it."""
    (card,) = (card for card in catalog.all_models() if card.name == "embedded")
    request = JobRequest(request=card.complete(Request(prompt))).to_json()
    return builders.new_job(**({"request": request} | values))


@pytest.fixture
def job_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlJobQueue]:
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path))
    monkeypatch.delenv("REELGRID_DATABASE", raising=False)
    job_queue = open_job_queue(tmp_path)
    yield job_queue
    job_queue.close()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_jobs_are_listed_and_shown(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    first = job_queue.submit(new_job("a red ball " * 9))
    job_queue.submit(new_job(owner="bob"))
    claim = job_queue.claim(new_worker())
    assert claim is not None
    job_queue.heartbeat(claim, JobProgress(stage="denoise", step=5))
    assert run(["jobs", "list"]) == 0
    shown = capsys.readouterr().out
    assert "2 jobs" in shown
    assert "in_progress" in shown
    assert "50 %" in shown
    assert run(["jobs", "list", "--json", "--status", "queued"]) == 0
    (waiting,) = lines(capsys)
    assert run(["jobs", "show", first.id, waiting["id"], "--json"]) == 0
    both = lines(capsys)
    assert [view["id"] for view in both] == [first.id, waiting["id"]]
    assert both[1]["queue_position"] in {1, None}
    assert run(["jobs", "show", first.id]) == 0
    assert "prompt           a red ball" in capsys.readouterr().out


def test_jobs_are_paused_resumed_and_cancelled(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_queue.submit(new_job())
    for act, said in (
        ("pause", "queued, paused"),
        ("resume", "queued"),
        ("cancel", "failed"),
    ):
        assert run(["jobs", act, job.id]) == 0
        assert capsys.readouterr().err == f"{job.id}: {said}\n"
    assert run(["jobs", "pause", job.id]) == 2
    assert "is failed: it cannot be paused" in capsys.readouterr().err


def test_a_job_is_followed_to_its_end(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes one step between two polls of the command."""
    job = job_queue.submit(new_job())

    def work() -> Iterator[None]:
        claim = job_queue.claim(new_worker())
        assert claim is not None
        job_queue.heartbeat(claim, JobProgress(stage="denoise", step=5))
        yield
        job_queue.finish(claim, {"video": "v"})
        yield

    steps = work()
    between_polls = SimpleNamespace(sleep=lambda _: next(steps), monotonic=time.monotonic)
    monkeypatch.setattr("reelgrid.cli.jobs.time", between_polls)
    assert run(["jobs", "follow", job.id]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{job.id}  queued  number 1 in the queue",
        f"{job.id}  in_progress  denoise 5/10  50 %",
        f"{job.id}  completed",
    ]


def test_following_a_job_that_fails_is_exit_code_one(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_queue.cancel(job_queue.submit(new_job()).id)
    assert run(["jobs", "follow", job.id]) == 1
    assert "cancelled: the job was cancelled" in capsys.readouterr().out


def test_a_job_has_the_fields_of_the_videos_api(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_queue.submit(new_job())
    for words in (["list"], ["show", job.id]):
        assert run(["jobs", *words, "--json"]) == 0
        (printed,) = lines(capsys)
        assert Video(**printed).model_dump() == printed
        assert (printed["seed"], printed["queue_position"]) == (0, 1)
    job_queue.cancel(job.id)
    assert run(["jobs", "follow", job.id, "--json"]) == 1
    assert set(lines(capsys)[0]) == set(Video.model_fields)


def test_the_text_of_a_database_shows_fields_for_operators_too(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_queue.submit(new_job(owner="bob"))
    job_queue.claim(new_worker("w7"))
    assert run(["jobs", "show", job.id]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (shown["owner"], shown["worker"], shown["claims"]) == ("bob", "w7", "1")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["jobs", "show", "video_x"], 2, "there is no job 'video_x'"),
        (["jobs", "list", "--status", "paused"], 2, "is not one of queued"),
        (["jobs", "list", "--url", "ftp://x"], 2, "is not an address"),
        (["jobs", "list", "--url", "http://127.0.0.1:1"], 1, "does not respond"),
        (["jobs", "list", "--database", "mysql://x/y"], 2, "cannot use mysql"),
        (["keys", "revoke", "nobody"], 2, "there is no key 'nobody'"),
        (["keys", "create", "x", "--max-jobs", "0"], 2, "--max-jobs"),
    ],
)
def test_an_error_is_one_line(
    job_queue: SqlJobQueue,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    assert run(words) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_keys_are_made_listed_and_revoked(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["keys", "create", "ann", "--max-jobs", "3", "--max-gpu-seconds", "60"]) == 0
    out, err = capsys.readouterr()
    secret = out.strip()
    assert secret not in err
    key = ApiKeys(job_queue.database).authenticate(secret)
    assert key is not None
    assert (key.name, key.limits.max_jobs, key.limits.max_gpu_s_per_day) == ("ann", 3, 60)
    assert run(["keys", "list"]) == 0
    shown = capsys.readouterr().out
    assert "max_jobs 3" in shown
    assert secret not in shown
    assert run(["keys", "revoke", "ann"]) == 0
    assert ApiKeys(job_queue.database).authenticate(secret) is None
    assert run(["keys", "list", "--json"]) == 0
    assert lines(capsys)[0]["revoked_at"] is not None


class VideosApi(BaseHTTPRequestHandler):
    """A server that responds like the videos API and records the requests."""

    requests: list[tuple[str, str, str | None]]

    def do_GET(self) -> None:
        type(self).requests.append((self.command, self.path, self.headers["Authorization"]))
        a = {"id": "a", "status": "in_progress", "detail": "pausing"}
        if "after=b" in self.path:
            self._say(
                200, {"data": [{"id": "c", "status": "queued"}], "has_more": False, "last_id": "c"}
            )
        elif self.path.startswith("/v1/videos?"):
            self._say(200, {"data": [a, a | {"id": "b"}], "has_more": True, "last_id": "b"})
        elif self.path.endswith("/gone"):
            self._say(404, {"error": {"message": "there is no job 'gone'", "code": "not_found"}})
        elif self.path.endswith("/denied"):
            self._say(401, {"error": {"message": "the API key is invalid"}})
        elif self.path.endswith("/full"):
            self._say(503, {"error": {"message": "the disk is full"}})
        elif self.path.endswith("/broken"):
            self._say(500, "no error object")
        elif self.path.endswith("/odd"):
            self._say(200, [])
        else:
            self._say(200, a)

    do_POST = do_GET  # noqa: N815  # the name is the protocol's

    def _say(self, code: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("REELGRID_API_KEY", "rg_secret")
    VideosApi.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), VideosApi)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_over_http_the_key_is_sent_and_pages_are_followed(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["jobs", "list", "--json", "--limit", "5", "--url", f"{url}/v1"]) == 0
    assert [view["id"] for view in lines(capsys)] == ["a", "b", "c"]
    assert {key for _, _, key in VideosApi.requests} == {"Bearer rg_secret"}
    assert run(["jobs", "pause", "a/b", "--url", url]) == 0
    assert VideosApi.requests[-1][:2] == ("POST", "/v1/videos/a%2Fb/pause")
    assert capsys.readouterr().err == "a/b: in_progress, pausing\n"


def test_over_http_an_error_is_the_same_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "show", "gone", "--url", url]) == 2
    assert capsys.readouterr().err == "reelgrid: there is no job 'gone'\n"
    assert run(["jobs", "show", "odd", "--url", url]) == 1
    assert "is this a Reelgrid server?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("denied", 2, "the API key is invalid (the API key is taken from REELGRID_API_KEY)"),
        ("full", 1, "the disk is full"),
        ("broken", 1, "the server responded 500 Internal Server Error"),
    ],
)
def test_over_http_the_exit_code_says_whose_error_it_is(
    url: str, capsys: pytest.CaptureFixture[str], name: str, code: int, said: str
) -> None:
    assert run(["jobs", "show", name, "--url", url]) == code
    assert capsys.readouterr().err == f"reelgrid: {said}\n"


def test_a_job_is_the_same_from_the_server_and_from_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path))
    with Served(tmp_path, "--workers", "0") as served:
        for prompt in ("a red ball", "a blue box"):
            served.ask("/videos", {"prompt": prompt, "model": "embedded"})
        found = []
        for words in (["--url", served.url], ["--database", str(tmp_path / "jobs.sqlite")]):
            assert run(["jobs", "list", "--json", *words]) == 0
            jobs = lines(capsys)
            assert all(job["queue_position"] for job in jobs)  # the server caches it for a while
            found.append([job | {"queue_position": None} for job in jobs])
    over_http, from_database = found
    assert over_http == from_database
    assert [job["prompt"] for job in from_database] == ["a blue box", "a red ball"]


def test_jobs_of_a_status_are_found_behind_newer_jobs(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    old = job_queue.submit(new_job())
    job_queue.cancel(old.id)
    for _ in range(3):
        job_queue.submit(new_job())
    assert run(["jobs", "list", "--json", "--status", "failed", "--limit", "1"]) == 0
    assert [view["id"] for view in lines(capsys)] == [old.id]


def test_an_error_for_one_job_does_not_stop_the_others(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, waiting = job_queue.submit(new_job()), job_queue.submit(new_job())
    claim = job_queue.claim(new_worker())
    assert claim is not None
    ended, waiting = (ended, waiting) if claim.id == ended.id else (waiting, ended)
    job_queue.finish(claim, {"video": "v"})
    missing = "video_" + "0" * 24
    assert run(["jobs", "cancel", missing, ended.id, waiting.id]) == 2
    said = capsys.readouterr().err
    assert f"{waiting.id}: failed" in said
    assert f"there is no job '{missing}'" in said
    assert f"{ended.id} is completed: it cannot be cancelled" in said


def test_follow_waits_for_a_server_that_is_restarted(
    job_queue: SqlJobQueue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_queue.submit(new_job())
    looks: list[str] = []

    def look(self: DatabaseJobs, job_id: str) -> dict[str, Any]:
        looks.append(job_id)
        if len(looks) == 2:
            job_queue.cancel(job_id)
        if len(looks) in {2, 3}:
            raise ReelgridError("the server does not respond")
        return seen(self, job_id)

    seen = DatabaseJobs.get
    monkeypatch.setattr(DatabaseJobs, "get", look)
    monkeypatch.setattr(jobs_module, "POLL_EVERY_S", 0.01)
    assert run(["jobs", "follow", job.id]) == 1
    captured = capsys.readouterr()
    assert "cancelled" in captured.out
    assert captured.err.count("the server does not respond: retrying for 60 s") == 1
    assert len(looks) == 4


def test_an_image_job_is_not_requested_from_a_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "image_" + "0" * 24
    assert run(["jobs", "show", name, "--url", "http://127.0.0.1:9"]) == 2
    assert "is an image job: servers show video jobs only" in capsys.readouterr().err
