"""Readiness, metrics, models and estimates."""

import re
from unittest.mock import Mock

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from reelgrid.api import schemas
from reelgrid.api.health import READINESS_AGE_S, Readiness
from reelgrid.api.service import ServedModels
from reelgrid.catalog import find
from reelgrid.cli.job_access import DatabaseJobs
from tests.api.conftest import ApiServer, Build


def test_ready_means_database_blobs_and_a_live_worker(build: Build) -> None:
    api = build()
    with api.client() as client:
        assert client.get("/ready").json()["workers"] == "no worker has reported lately"
    api.worker.take()
    with api.client() as client:
        answer = client.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    api.job_queue.close()
    database = api.worker.folder.parent / "jobs.sqlite"
    database.unlink()
    database.mkdir()
    with api.client() as client:
        answer = client.get("/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "it cannot be reached")


def test_ready_writes_nothing_however_often_anybody_asks(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = build(is_open=False)
    workers = Mock(wraps=api.job_queue.workers)
    monkeypatch.setattr(api.job_queue, "workers", workers)
    monkeypatch.setattr(api.service.blobs, "put", forbidden)
    monkeypatch.setattr(api.job_queue.database, "write", forbidden)
    with api.client() as client:
        answers = [client.get("/ready").json() for _ in range(20)]
    assert {answer["database"] for answer in answers} == {"ok"}
    assert {answer["blobs"] for answer in answers} == {"ok"}
    assert workers.call_count < 20


def test_readiness_is_checked_again_when_it_is_old(api: ApiServer) -> None:
    now = [0.0]
    readiness = Readiness(api.service, clock=lambda: now[0])
    assert readiness.check()["status"] == "unavailable"
    api.worker.take()
    assert readiness.check()["status"] == "unavailable"
    now[0] += READINESS_AGE_S
    assert readiness.check()["status"] == "ok"


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("this writes")


def test_readiness_says_why_workers_do_not_start(build: Build) -> None:
    with build(failures=lambda: ("worker 0 died 3 times",)).client() as client:
        assert client.get("/ready").json()["workers"] == "worker 0 died 3 times"


def test_metrics_add_up(client: TestClient, api: ApiServer) -> None:
    for _ in range(3):
        client.post("/v1/videos", json={"prompt": "x"})
    api.worker.finish(api.worker.take())  # type: ignore[arg-type]  # there are three
    claim = api.worker.take()
    assert claim is not None
    api.job_queue.save_checkpoint(claim, "checkpoints/x", 1)
    text = client.get("/metrics").text
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["reelgrid_submitted_total", "embedded"] == 3
    assert values["reelgrid_completed_total", "embedded"] == 1
    assert values["reelgrid_checkpoints_total", "embedded"] == 1
    assert values["reelgrid_jobs", "embedded", "waiting"] == 1
    assert values["reelgrid_jobs", "embedded", "running"] == 1
    assert values["reelgrid_workers", "a test", "busy"] == 1
    assert values["reelgrid_wait_seconds_count", "embedded"] == 2
    assert values["reelgrid_wait_seconds_bucket", "+Inf", "embedded"] == 2
    assert values["reelgrid_step_seconds_bucket", "0.1", "embedded"] == 1
    assert values["reelgrid_clip_seconds_sum", "embedded"] == 17 / 8
    rate = values["reelgrid_video_minutes_per_gpu_hour", "embedded"]
    gpu_s = values["reelgrid_gpu_seconds_sum", "embedded"]
    assert abs(rate - (17 / 8 / 60) / (gpu_s / 3600)) < 1e-6 * rate
    assert values["reelgrid_http_responses_total", "/v1/videos", "200", "POST"] == 3
    assert re.search(r'reelgrid_http_seconds_bucket\{le="0.1",route="/v1/videos"\}', text)


def test_responses_match_the_schemas(client: TestClient, api: ApiServer) -> None:
    asked = client.post("/v1/videos", json={"prompt": "x"}).json()
    schemas.Video.model_validate(asked, strict=True)
    schemas.ModelList.model_validate(client.get("/v1/models").json(), strict=True)
    api.worker.work_off()
    schemas.VideoList.model_validate(client.get("/v1/videos").json(), strict=True)
    schemas.EstimateResponse.model_validate(
        client.post("/v1/estimates", json={"prompt": "x"}).json(), strict=True
    )


def test_a_job_has_the_same_json_over_http_and_from_the_database(
    client: TestClient, api: ApiServer
) -> None:
    body = {"prompt": "x", "negative_prompt": "blur", "num_inference_steps": 8}
    ids = [client.post("/v1/videos", json=body).json()["id"] for _ in range(3)]
    api.worker.finish(api.worker.take())  # type: ignore[arg-type]  # there are three
    claim = api.worker.take()
    assert claim is not None
    api.worker.step(claim, 3)
    assert {api.job_queue.get(each).status for each in ids} == {
        "completed",
        "in_progress",
        "queued",
    }
    from_database = DatabaseJobs(api.job_queue)
    for job_id in ids:
        one, other = from_database.get(job_id), client.get(f"/v1/videos/{job_id}").json()
        assert one.keys() == other.keys()
        # The server's own measurements of times may be some seconds old.
        assert {**one, "eta_seconds": None} == {**other, "eta_seconds": None}


def test_an_estimate_says_what_it_rests_on_and_runs_nothing(build: Build) -> None:
    api = build(usd_per_gpu_h=3600.0)
    with api.client() as client:
        guess = client.post("/v1/estimates", json={"prompt": "x"}).json()
        assert "guess" in guess["basis"]
        assert guess["wait_seconds"] is None
        for _ in range(3):
            client.post("/v1/videos", json={"prompt": "x"})
        api.worker.work_off()
    api = build(usd_per_gpu_h=3600.0, estimator=type(api.service.estimator)(api.job_queue))
    with api.client() as client:
        known = client.post("/v1/estimates", json={"prompt": "x", "num_inference_steps": 20}).json()
        alike = client.post("/v1/estimates", json={"prompt": "x", "num_frames": 1}).json()
    assert known["seconds"]["likely"] == 20 * 0.1 + 0.2  # as the worker reported
    assert known["cost_usd"]["likely"] == known["seconds"]["likely"]
    assert "3 jobs of the same size" in known["basis"]
    assert "scaled" in alike["basis"]
    assert alike["seconds"]["likely"] < known["seconds"]["likely"]
    widths = [each["seconds"]["high"] / each["seconds"]["low"] for each in (known, alike, guess)]
    assert widths == sorted(widths)
    assert len(api.job_queue.list().jobs) == 3


def test_models_list_their_capabilities(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "embedded"
    able = model["capabilities"]
    assert able["kinds"] == ["video", "image"]
    assert able["sizes"]["allowed"] == ["128x128"]
    assert (able["extension"], able["edit"], able["max_frames"]) == (True, False, 17)
    assert client.get("/v1/models/embedded").json() == model
    error = client.get("/v1/models/embeded").json()["error"]
    assert (error["code"], error["message"][-17:]) == ("model_not_found", "nearest: embedded")


def test_a_larger_clip_needs_more_memory_than_the_card_says(build: Build) -> None:
    card = find("wan2.1-t2v-1.3b")
    assert card is not None
    with build(models=ServedModels((card,))).client() as client:
        usual = client.post("/v1/estimates", json={"prompt": "x"}).json()
        larger = client.post("/v1/estimates", json={"prompt": "x", "size": "1280x720"}).json()
    assert usual["memory_gib"] == card.memory_gib
    assert larger["memory_gib"] > usual["memory_gib"] + 0.1
    assert larger["seconds"]["likely"] > 2 * usual["seconds"]["likely"]
