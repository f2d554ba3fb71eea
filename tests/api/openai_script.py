"""The calls of a user of the unmodified openai package, against a real server; a script.

    python openai_script.py BASE_URL KEY OTHER_KEY

It runs with every supported version of the package; each line of output is one check that passed. Not a test by itself: `test_openai_package` runs it.
"""

import asyncio
import base64
import sys
import warnings
from collections.abc import Callable
from typing import Any

warnings.simplefilter("ignore", DeprecationWarning)  # the package deprecates its videos

import openai  # noqa: E402

BASE_URL, KEY, OTHER_KEY = sys.argv[1:]
IS_3 = int(openai.__version__.partition(".")[0]) >= 3
client: Any = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0)
other: Any = openai.OpenAI(base_url=BASE_URL, api_key=OTHER_KEY, max_retries=0)
POLL = {"poll_interval_ms": 50}
QUICK = {"num_inference_steps": 2}


def refused(kind: type[Exception], call: Callable[[], Any]) -> Any:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def create_poll_and_download() -> str:
    video = client.videos.create_and_poll(prompt="a red ball rolls to the right", **POLL)
    assert video.status == "completed", video
    assert video.progress == 100
    assert video.seconds == "2.125"
    assert video.size == "128x128"
    assert video.error is None
    assert video.completed_at >= video.created_at
    content = client.videos.download_content(video.id)
    assert content.read()[4:8] == b"ftyp"
    for variant in ("thumbnail", "spritesheet"):
        assert client.videos.download_content(video.id, variant=variant).read()[:4] == b"RIFF"
    with client.videos.with_streaming_response.download_content(video.id) as stream:
        assert sum(len(piece) for piece in stream.iter_bytes()) > 1000
    return str(video.id)


def every_field(first: str) -> None:
    extra = {"seed": 7, "guidance_scale": 1.5, "negative_prompt": "blue", "fps": 4, **QUICK}
    video = client.videos.create_and_poll(
        prompt="a red ball", model="embedded", size="128x128", extra_body=extra, **POLL
    )
    assert (video.seed, video.fps, video.seconds) == (7, 4, "4.25"), video
    picture = client.images.generate(prompt="a red ball", extra_body=QUICK)
    raw = base64.b64decode(picture.data[0].b64_json)
    begun = client.videos.create_and_poll(
        prompt="it rolls", input_reference=("first.png", raw, "image/png"), extra_body=QUICK, **POLL
    )
    assert begun.status == "completed", begun
    for reference in (
        {"image_url": "data:image/png;base64," + base64.b64encode(raw).decode()},
        {"file_id": picture.id},
        {"file_id": first},
    ):
        body = {"input_reference": reference, **QUICK}
        assert (
            client.videos.create_and_poll(prompt="on", extra_body=body, **POLL).status
            == "completed"
        )


def pages_in_both_orders() -> None:
    for order in ("asc", "desc"):
        ids = [video.id for video in client.videos.list(limit=2, order=order)]
        assert len(ids) == len(set(ids)) >= 3, ids
        times = [video.created_at for video in client.videos.list(limit=2, order=order)]
        assert times == sorted(times, reverse=order == "desc")


def remix_and_extension(first: str) -> None:
    source = client.videos.retrieve(first)
    remix = client.videos.poll(client.videos.remix(first, prompt="a blue ball").id, **POLL)
    assert remix.remixed_from_video_id == first
    assert remix.seed == source.seed
    if IS_3:
        longer = client.videos.extend(
            prompt="it rolls on", seconds="2", video=b"", extra_body={"video_id": first}
        )
    else:
        longer = client.post(
            "/videos/extensions",
            body={"prompt": "it rolls on", "seconds": "2", "video": {"id": first}},
            cast_to=openai.types.Video,
        )
    longer = client.videos.poll(longer.id, **POLL)
    assert (longer.status, longer.seconds) == ("completed", "4.125"), longer
    if IS_3:
        file = client.videos.download_content(first).read()
        error = refused(
            openai.BadRequestError,
            lambda: client.videos.edit(prompt="blue", video=("a.mp4", file, "video/mp4")),
        )
        assert error.code == "unsupported_capability"
        error = refused(
            openai.BadRequestError,
            lambda: client.videos.create_character(name="x", video=("a.mp4", file, "video/mp4")),
        )
        assert "characters" in error.message
        refused(openai.NotFoundError, lambda: client.videos.get_character("char_1"))


def every_error_class(first: str) -> None:
    nobody: Any = openai.OpenAI(base_url=BASE_URL, api_key="rg_" + 43 * "x", max_retries=0)
    error = refused(openai.AuthenticationError, client_list(nobody))
    assert error.code == "invalid_api_key"
    assert error.request_id
    error = refused(openai.NotFoundError, lambda: client.videos.retrieve("video_" + 24 * "0"))
    assert error.status_code == 404
    refused(openai.NotFoundError, lambda: other.videos.retrieve(first))
    refused(openai.NotFoundError, lambda: other.videos.download_content(first))
    error = refused(openai.NotFoundError, lambda: client.videos.create(prompt="x", model="sora-2"))
    assert (error.code, error.param) == ("model_not_found", "model")
    error = refused(
        openai.BadRequestError, lambda: client.videos.create(prompt="x", seconds="99999")
    )
    assert error.param == "seconds"
    error = refused(
        openai.BadRequestError, lambda: client.videos.create(prompt="x", size="100x100")
    )
    assert "nearest: 128x128" in error.message
    error = refused(
        openai.PermissionDeniedError,
        lambda: other.videos.create(prompt="x", extra_body={"num_inference_steps": 9}),
    )
    assert error.code == "max_steps"
    other.videos.create(prompt="x", extra_body={"priority": "low"})
    error = refused(
        openai.RateLimitError, lambda: [other.videos.create(prompt="x") for _ in range(9)]
    )
    assert error.code == "max_jobs"
    headers = {"Idempotency-Key": f"once-{openai.__version__}"}
    same = [client.videos.create(prompt="x", extra_headers=headers).id for _ in range(2)]
    assert same[0] == same[1]
    error = refused(
        openai.ConflictError, lambda: client.videos.create(prompt="y", extra_headers=headers)
    )
    assert error.param == "idempotency_key"


def client_list(some: Any) -> Callable[[], Any]:
    return lambda: some.videos.list()


def cancelled_is_a_failed_job() -> None:
    video = client.videos.create(prompt="long", extra_body={"num_inference_steps": 900})
    client.post(f"/videos/{video.id}/cancel", cast_to=object)
    video = client.videos.poll(video.id, **POLL)
    assert (video.status, video.error.code) == ("failed", "cancelled")


def deleted_is_gone() -> None:
    video = client.videos.create_and_poll(prompt="x", extra_body=QUICK, **POLL)
    answer = client.videos.delete(video.id)
    assert (answer.id, answer.object, answer.deleted) == (video.id, "video.deleted", True)
    refused(openai.NotFoundError, lambda: client.videos.retrieve(video.id))


def images_and_models() -> None:
    answer = client.images.generate(
        prompt="a red ball", n=2, size="128x128", output_format="jpeg", extra_body=QUICK
    )
    assert len(answer.data) == 2
    assert answer.output_format == "jpeg"
    assert all(base64.b64decode(each.b64_json)[:2] == b"\xff\xd8" for each in answer.data)
    url = (
        client.images.generate(prompt="a red ball", response_format="url", extra_body=QUICK)
        .data[0]
        .url
    )
    assert url.startswith(BASE_URL.removesuffix("/v1"))
    events = list(
        client.images.generate(
            prompt="a red ball",
            stream=True,
            partial_images=2,
            extra_body={"num_inference_steps": 8},
        )
    )
    kinds = [event.type for event in events]
    assert kinds[-1] == "image_generation.completed", kinds
    assert kinds.count("image_generation.partial_image") == 2, kinds
    assert base64.b64decode(events[-1].b64_json)[:4] == b"\x89PNG"
    error = refused(
        openai.BadRequestError,
        lambda: client.images.edit(prompt="x", image=("a.png", b"\x89PNG", "image/png")),
    )
    assert error.code == "unsupported_capability"
    models = client.models.list().data
    assert [model.id for model in models] == ["embedded"]
    assert client.models.retrieve("embedded").capabilities["extension"] is True


async def everything_asynchronously() -> None:
    some: Any = openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0)
    one, two = await asyncio.gather(
        *(
            some.videos.create_and_poll(prompt=f"ball {n}", extra_body=QUICK, **POLL)
            for n in range(2)
        )
    )
    assert one.status == two.status == "completed"
    content = await some.videos.download_content(one.id)
    assert (await content.aread())[4:8] == b"ftyp"
    ids = [video.id async for video in some.videos.list(limit=2)]
    assert {one.id, two.id} <= set(ids)
    await some.close()


def main() -> None:
    first = create_poll_and_download()
    steps: list[Callable[[], Any]] = [
        lambda: every_field(first),
        pages_in_both_orders,
        lambda: remix_and_extension(first),
        lambda: every_error_class(first),
        cancelled_is_a_failed_job,
        deleted_is_gone,
        images_and_models,
        lambda: asyncio.run(everything_asynchronously()),
    ]
    for step in steps:
        step()
    sys.stdout.write(f"all held with openai {openai.__version__}\n")


if __name__ == "__main__":
    main()
