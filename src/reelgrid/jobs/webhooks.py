"""What a webhook says and how it is signed: OpenAI's events, by the rules of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (read
2026-11). Pure functions but for `read_master_key`. Not here: sending (`webhooks`, `safe_post`).

Delivers the desk's notices, each at least once, however often the server dies in between.

A notice is written in the transaction that ends its job and struck off when its receiver has taken
it; between the two it belongs to whichever server holds its lease.
"""

import base64
import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from reelgrid.errors import BusyError, JobQueueError
from reelgrid.jobs import safe_post
from reelgrid.jobs.accounting import OutboxEntry
from reelgrid.jobs.queue import OperatorQueue
from reelgrid.store import atomic_write

RETRY_IN_S: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds before each further attempt, as the specification recommends: given up after 28 hours."""

_MASTER_BYTES: Final = 32


def event_id(notice: OutboxEntry) -> str:
    """Return the event's id: the same at every attempt, so that a receiver can drop repetitions."""
    return f"evt_{hashlib.sha256(f'{notice.job}:{notice.event}'.encode()).hexdigest()[:32]}"


def event_body(notice: OutboxEntry) -> bytes:
    """Return the event as the openai package reads it: type, id, time, and the job's id."""
    event = {
        "id": event_id(notice),
        "object": "event",
        "created_at": int(notice.created_at),
        "type": notice.event,
        "data": {"id": notice.job},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def signed_headers(name: str, body: bytes, secret: str, now_s: float) -> Mapping[str, str]:
    """Return the headers that prove who sent a body and when.

    Args:
        name: The event's id.
        body: What is sent.
        secret: From `webhook_secret`.
        now_s: Unix seconds of this attempt; receivers refuse what is older than some minutes.
    """
    timestamp = str(int(now_s))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((name.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def webhook_secret(master: bytes, owner: str) -> str:
    """Return the secret of one key's webhooks; those of other keys cannot be told from it.

    Args:
        master: From `read_master_key`.
        owner: The key's id.
    """
    digest = hmac.digest(master, f"reelgrid webhook {owner}".encode(), "sha256")
    return f"whsec_{base64.b64encode(digest).decode()}"


def retry_in_s(num_attempts: int) -> float | None:
    """Return when to try again after so many attempts that failed; none is never."""
    return RETRY_IN_S[num_attempts - 1] if num_attempts <= len(RETRY_IN_S) else None


def read_master_key(data: Path) -> bytes:
    """Return the secret that all webhook secrets of a data folder come from, made when first asked.

    It lies there for its owner's eyes only. Servers that share a database share this file too.
    """
    path = data / "webhook.key"
    if not path.is_file():
        data.mkdir(parents=True, exist_ok=True)
        _make_once(path, secrets.token_bytes(_MASTER_BYTES))
    return path.read_bytes()


def _make_once(path: Path, content: bytes) -> None:
    """Write a file unless somebody else has written it by then."""
    mine = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with atomic_write(mine, mode=0o600) as temporary:
            temporary.write_bytes(content)
        os.link(mine, path)
    except FileExistsError:
        return
    finally:
        mine.unlink(missing_ok=True)


_log = logging.getLogger(__name__)

_LEASE_S: Final = 120.0
_AT_ONCE: Final = 8
_GONE: Final = 410  # the receiver wants no more of it


class WebhookSender:
    """Sends what is due.

    Args:
        job_queue: Whose notices.
        master: From `webhooks.read_master_key`.
        allows_private: Whether webhooks may go to addresses that are not public.
        timeout_s: For one attempt to connect, and again for the exchange.
        clock: Unix seconds, for the signatures.
    """

    def __init__(
        self,
        job_queue: OperatorQueue,
        master: bytes,
        *,
        allows_private: bool = False,
        timeout_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._job_queue = job_queue
        self._master = master
        self._allows_private = allows_private
        self._timeout_s = timeout_s
        self._clock = clock

    def run(self, stop: threading.Event, *, every_s: float = 1.0) -> None:
        """Send until `stop` is set; to be a thread of its own."""
        while not stop.is_set():
            try:
                is_more = self.send_due() == _AT_ONCE
            except (BusyError, JobQueueError) as error:
                _log.warning("webhooks have to wait: %s", error)
                is_more = False
            if not is_more:
                stop.wait(every_s)

    def send_due(self) -> int:
        """Send what is due now, side by side, and return how many attempts that were."""
        notices = self._job_queue.claim_outbox(limit=_AT_ONCE, lease_s=_LEASE_S)
        if notices:
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhook") as threads:
                list(threads.map(self._deliver, notices))
        return len(notices)

    def _deliver(self, notice: OutboxEntry) -> None:
        host = urlsplit(notice.url).hostname  # what comes behind it may be a secret
        about = {"job": notice.job, "event": notice.event, "host": host}
        failure = self._try(notice)
        if failure is None:
            _log.info("webhook of %s delivered", notice.job, extra=about)
            self._job_queue.settle_outbox(notice, retry_in_s=None)
            return
        delay_s = None if failure.is_final else retry_in_s(notice.num_attempts)
        what = "given up" if delay_s is None else f"to be tried again in {delay_s:g} s"
        _log.warning("webhook of %s: %s: %s", notice.job, failure.reason, what, extra=about)
        self._job_queue.settle_outbox(notice, retry_in_s=delay_s)

    def _try(self, notice: OutboxEntry) -> "_Failure | None":
        name, body = event_id(notice), event_body(notice)
        secret = webhook_secret(self._master, notice.owner)
        headers = signed_headers(name, body, secret, self._clock())
        try:
            status = safe_post.post(
                notice.url,
                body,
                headers,
                timeout_s=self._timeout_s,
                allows_private=self._allows_private,
            )
        except safe_post.Forbidden as error:
            return _Failure(str(error), is_final=True)
        except safe_post.PostError as error:
            return _Failure(str(error), is_final=False)
        if 200 <= status < 300:
            return None
        return _Failure(f"the answer was {status}", is_final=status == _GONE)


class _Failure:
    """Why an attempt failed, and whether there is no use in another."""

    def __init__(self, reason: str, *, is_final: bool) -> None:
        self.reason = reason
        self.is_final = is_final
