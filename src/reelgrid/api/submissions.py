"""What is asked for, from the fields of a body to a complete order with its circumstances.

Not here: whether it is admitted (`admission`).
"""

import contextlib
import ipaddress
import secrets
from dataclasses import replace

from reelgrid.api import responses
from reelgrid.api.admission import Submission
from reelgrid.api.bodies import Upload
from reelgrid.api.errors import ApiError
from reelgrid.api.fields import ExtensionFields, VideoFields, VideoReference, check
from reelgrid.api.first_frame import VIDEO_ID, is_given
from reelgrid.api.registry import UnsupportedError, choose_frames, choose_size, complete
from reelgrid.api.service import Service
from reelgrid.catalog import ModelCard
from reelgrid.errors import NotFoundError, RequestError
from reelgrid.jobs.job import Job, JobKind
from reelgrid.jobs.policy import Priority
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.safe_post import ForbiddenAddressError, PostTarget, is_public
from reelgrid.spec import Request

_MAX_DRAWN_SEED = 2**31


def video_submission(service: Service, fields: VideoFields) -> Submission:
    """Return what the fields of a video ask for, complete but for its first frame.

    Raises:
        RequestError: The model cannot do it.
        ApiError: There is no such model, or a field says what cannot be.
    """
    card = service.models.find(fields.model, kind="video")
    has_first_frame = is_given(fields.input_reference)
    request = complete(card, _request(card, fields), has_first_frame=has_first_frame)
    return Submission(
        kind=JobKind.VIDEO,
        card=card,
        order=JobRequest(request=request),
        priority=Priority[(fields.priority or "normal").upper()],
        deadline_at=fields.deadline,
        webhook=_checked_webhook(service, fields.webhook),
    )


def remix_submission(service: Service, source: Job, prompt: str) -> Submission:
    """Return what makes a video again with another prompt and the same everything else.

    Raises:
        ApiError: The picture that it began with is gone.
    """
    order = JobRequest.from_json(source.request)
    for blob in order.inputs:
        if not service.blobs.exists(blob):
            raise ApiError(404, "the picture that it began with has expired", code="expired")
    return Submission(
        kind=JobKind.VIDEO,
        card=service.models.find(source.model),
        order=replace(order, request=order.request.with_(prompt=prompt)),
        priority=source.priority,
        remixed_from=source.id,
    )


def extension_submission(service: Service, source: Job, fields: ExtensionFields) -> Submission:
    """Return what goes on from the last frame of a video.

    Raises:
        RequestError: The model cannot make a part of this length.
        UnsupportedError: It takes no first frame.
    """
    card = service.models.find(source.model)
    if not card.can_first_frame:
        raise UnsupportedError(card, "extend a video", "it takes no first frame", "video")
    before = JobRequest.from_json(source.request)
    asked = before.request.with_(
        prompt=fields.prompt, num_frames=card.frames_for(float(fields.seconds), before.request.fps)
    )
    order = JobRequest(
        request=complete(card, asked, has_first_frame=True),
        extends=source.files["video"],
        extends_s=float(responses.seconds(source)),
    )
    return Submission(
        kind=JobKind.VIDEO,
        card=card,
        order=order,
        priority=source.priority,
        extended_from=source.id,
    )


def source_id(fields: ExtensionFields) -> str:
    """Return the id of the video that is to be extended.

    Raises:
        ApiError: It is a file, which cannot be.
        RequestError: It is none, or two.
        NotFoundError: It is no id.
    """
    video = fields.video
    if isinstance(video, Upload) and not video.size_bytes:
        video = None
    if isinstance(video, Upload):
        raise ApiError(
            400,
            "only a video made here can be extended: give its id as video[id] or video_id",
            code="unsupported_capability",
            param="video",
        )
    if isinstance(video, str):
        video = {"id": video}
    named = check(VideoReference, video).id if isinstance(video, dict) else fields.video_id
    if named is None or (fields.video_id is not None and named != fields.video_id):
        raise RequestError("give one video, as video[id] or video_id", param="video")
    if not VIDEO_ID.fullmatch(named):
        raise NotFoundError(f"there is no video {named[:80]!r}", param="video")
    return named


def _request(card: ModelCard, fields: VideoFields) -> Request:
    seed = secrets.randbelow(_MAX_DRAWN_SEED) if fields.seed is None else fields.seed
    return Request(
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt,
        size=choose_size(fields.size, fields.width, fields.height),
        num_frames=choose_frames(card, fields.seconds, fields.num_frames, fields.fps),
        fps=fields.fps,
        num_steps=fields.num_inference_steps,
        guidance_scale=fields.guidance_scale,
        seed=seed,
    )


def _checked_webhook(service: Service, url: str | None) -> str | None:
    """Return an address that may be told of the end.

    What a name resolves to is looked at when the message is sent, and only then it counts.

    Raises:
        RequestError: It is no http or https URL, or names a private address.
    """
    if url is None:
        return None
    try:
        host = PostTarget.of(url).host
    except ForbiddenAddressError as error:
        raise RequestError(f"webhook cannot be used: {error}", param="webhook") from None
    with contextlib.suppress(ValueError):
        if not is_public(ipaddress.ip_address(host)) and not service.allow_private_webhooks:
            raise RequestError("webhook is no public address", param="webhook")
    return url
