"""The videos of the openai package over plain HTTP: every route, every answer."""

from io import BytesIO

import av
from fastapi.testclient import TestClient

from tests.api.conftest import House


def test_a_video_is_asked_for_made_and_downloaded(client: TestClient, house: House) -> None:
    asked = client.post("/v1/videos", json={"prompt": "a red ball", "seconds": "2", "seed": 7})
    assert asked.status_code == 200, asked.text
    job = asked.json()
    assert job["status"] == "queued"
    assert (job["seconds"], job["size"], job["seed"]) == ("2.125", "128x128", 7)
    assert job["queue_position"] == 1
    assert 250 <= int(asked.headers["openai-poll-after-ms"]) <= 10_000
    assert house.woken
    assert house.maker.work_off() == 1
    done = client.get(f"/v1/videos/{job['id']}").json()
    assert (done["status"], done["progress"], done["error"]) == ("completed", 100, None)
    file = client.get(f"/v1/videos/{job['id']}/content")
    assert file.headers["content-type"] == "video/mp4"
    with av.open(BytesIO(file.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 17
