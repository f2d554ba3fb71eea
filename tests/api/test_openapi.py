"""Requests that the OpenAPI document allows or forbids get responses that it describes."""

import os
from contextlib import nullcontext, suppress
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from reelgrid.api.app import create_app
from tests.api.conftest import ApiServer

NUM_EXAMPLES = int(os.environ.get("REELGRID_TEST_EXAMPLES", "6"))
"""Of every operation, in each mode; a hundred have been tried by hand."""
LEFT_OUT = {
    # A schema cannot say that 100x100 is no size of a model, or which fields exclude each other.
    "positive_data_acceptance",
}

load_all_checks()
CHECKED = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("names_what_is_there", [True, False])
def test_every_response_is_one_that_the_document_describes(
    api: ApiServer, mode: GenerationMode, names_what_is_there: bool
) -> None:
    known = jobs_of_every_kind(api) if names_what_is_there else {}
    document = schemathesis.openapi.from_asgi("/openapi.json", create_app(api.service))
    with api.worker.at_work():
        for operation in document.get_all_operations():
            holds(operation.ok(), mode, known)


def holds(operation: Any, mode: GenerationMode, known: dict[str, str]) -> None:
    """Try one operation with some bodies, queries and headers."""
    names = {parameter.name for parameter in operation.path_parameters}
    if known and not names & set(known):
        return
    fixed = {name: known[name] for name in names if name in known} or None

    @settings(
        max_examples=NUM_EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=fixed))
    def try_one(case: Any) -> None:
        case.call_and_validate(checks=CHECKED)

    with suppress(Unsatisfiable) if mode.is_negative else nullcontext():  # nothing can be wrong
        try_one()


def jobs_of_every_kind(api: ApiServer) -> dict[str, str]:
    """Return the ids of a finished video and a finished image."""
    with api.client() as client, api.worker.at_work():
        video = client.post("/v1/videos", json={"prompt": "a red ball"}).json()
        image = client.post("/v1/images/generations", json={"prompt": "a red ball"}).json()
    return {"video_id": video["id"], "image_id": image["id"], "model": "embedded"}


def test_the_document_names_every_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {
        "/v1/videos",
        "/v1/videos/{video_id}",
        "/v1/videos/{video_id}/content",
        "/v1/videos/{video_id}/remix",
        "/v1/videos/edits",
        "/v1/videos/extensions",
        "/v1/videos/characters",
        "/v1/videos/characters/{character_id}",
        "/v1/videos/{video_id}/cancel",
        "/v1/videos/{video_id}/pause",
        "/v1/videos/{video_id}/resume",
        "/v1/videos/{video_id}/preview",
        "/v1/videos/{video_id}/events",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/images/{image_id}/content",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/estimates",
        "/health",
        "/ready",
        "/metrics",
    } == set(document["paths"])
    bodies = document["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    assert set(bodies) == {"application/json", "multipart/form-data"}
