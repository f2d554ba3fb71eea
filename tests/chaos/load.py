"""A steady load through the API: a constant number of unfinished jobs, also while the server fails.

A request that was not answered is sent again with the same idempotency key, as a careful client
does. A job counts as accepted once, when its response has been received.
"""

import random
import threading
import time
import uuid
from dataclasses import dataclass, field

import httpx

PROMPT = "a red ball rolls to the right"
RETRY_S = 0.1


@dataclass(frozen=True)
class ClipRequest:
    """One of a few requests that are repeated: the file has to be the same each time."""

    seed: int
    num_steps: int

    def to_json(self) -> dict[str, object]:
        return {"prompt": PROMPT, "seed": self.seed, "num_inference_steps": self.num_steps}


@dataclass
class Load:
    """Keeps `num_on_the_way` jobs unfinished from `start` to `finish`.

    Attributes:
        accepted: Clips by the id of the job that the server has accepted for them.
        finished: The videos as the server last reported them, by id.
        mistakes: Responses that the server must never give.
    """

    url: str
    clips: tuple[ClipRequest, ...]
    num_on_the_way: int
    seed: int = 0
    accepted: dict[str, ClipRequest] = field(default_factory=dict)
    finished: dict[str, dict[str, object]] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="load", daemon=True)
        self._client = httpx.Client(base_url=self.url, timeout=5.0)

    def start(self) -> None:
        self._thread.start()

    def finish(self, within_s: float) -> None:
        """Stop requesting, and return when all accepted jobs are finished."""
        self._is_over.set()
        self._thread.join(within_s)
        waits = set(self.accepted) - set(self.finished)
        assert not self._thread.is_alive(), f"{len(waits)} jobs are not finished: {waits}"
        self._client.close()

    def content(self, job_id: str) -> bytes:
        answer = httpx.get(f"{self.url}/v1/videos/{job_id}/content", timeout=30.0)
        assert answer.status_code == 200, (job_id, answer.status_code, answer.text)
        return answer.content

    def _go_on(self) -> None:
        while True:
            on_the_way = [job for job in list(self.accepted) if job not in self.finished]
            if not on_the_way and self._is_over.is_set():
                return
            for job in on_the_way:
                self._look(job)
            if len(on_the_way) < self.num_on_the_way and not self._is_over.is_set():
                self._ask(self._random.choice(self.clips))
            time.sleep(RETRY_S)

    def _ask(self, clip: ClipRequest) -> None:
        """Request one clip until it is accepted."""
        key = uuid.UUID(int=self._random.getrandbits(128)).hex
        while True:
            try:
                headers = {"Idempotency-Key": key}
                answer = self._client.post("/v1/videos", json=clip.to_json(), headers=headers)
            except httpx.HTTPError:
                time.sleep(RETRY_S)
                continue
            if answer.status_code == 200:
                self.accepted[answer.json()["id"]] = clip
                return
            if answer.status_code not in {429, 503, 507}:
                self.mistakes.append(f"POST {answer.status_code} {answer.text[:200]}")
            if self._is_over.is_set():
                return
            time.sleep(RETRY_S)

    def _look(self, job: str) -> None:
        try:
            answer = self._client.get(f"/v1/videos/{job}")
        except httpx.HTTPError:
            return
        if answer.status_code == 200:
            video = answer.json()
            if video["status"] in {"completed", "failed"}:
                self.finished[job] = video
        elif answer.status_code not in {429, 503}:
            self.mistakes.append(f"GET {job} {answer.status_code} {answer.text[:200]}")
