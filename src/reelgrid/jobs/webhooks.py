"""Webhooks: the signed event that says that a job has ended, and the sender of the outbox.

OpenAI's events, signed by the rules of Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, read 2026-11).
An outbox entry is written in the transaction that ends its job and removed when its receiver has accepted
it: it is delivered at least once, however often the server dies. In between it belongs to the server that
holds its lease.
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
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from reelgrid.errors import BusyError, JobQueueError
from reelgrid.jobs import safe_post
from reelgrid.jobs.accounting import OutboxEntry
from reelgrid.jobs.queue import OperatorQueue
from reelgrid.store.atomic import atomic_write

RETRY_IN_S: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds before each further attempt, as the specification recommends; given up after 28 hours."""

_MASTER_KEY_BYTES: Final = 32


def event_id(entry: OutboxEntry) -> str:
    """Return the id of the event: the same at every attempt, so that a receiver can drop repetitions."""
    return f"evt_{hashlib.sha256(f'{entry.job}:{entry.event}'.encode()).hexdigest()[:32]}"


def event_body(entry: OutboxEntry) -> bytes:
    """Return the event as the openai package reads it: type, id, time, and the job's id."""
    event = {
        "id": event_id(entry),
        "object": "event",
        "created_at": int(entry.created_at),
        "type": entry.event,
        "data": {"id": entry.job},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def signed_headers(name: str, body: bytes, secret: str, now_s: float) -> Mapping[str, str]:
    """Return the headers that prove the sender and the time of a body.

    Args:
        name: The event's id.
        body: What is sent.
        secret: From `webhook_secret`.
        now_s: Unix seconds of this attempt; receivers refuse events older than some minutes.
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


def webhook_secret(master_key: bytes, owner: str) -> str:
    """Return the webhook secret of one API key; it reveals nothing about those of other keys.

    Args:
        master_key: From `read_master_key`.
        owner: The key's id.
    """
    digest = hmac.digest(master_key, f"reelgrid webhook {owner}".encode(), "sha256")
    return f"whsec_{base64.b64encode(digest).decode()}"


def retry_in_s(num_attempts: int) -> float | None:
    """Return the delay after so many failed attempts; `None` means to give up."""
    return RETRY_IN_S[num_attempts - 1] if num_attempts <= len(RETRY_IN_S) else None


def read_master_key(data: Path) -> bytes:
    """Return the key that all webhook secrets of a data folder are derived from, created at first use.

    Only the owner of the folder can read it. Servers that share a database have to share this file.
    """
    path = data / "webhook.key"
    if not path.is_file():
        data.mkdir(parents=True, exist_ok=True)
        _create_once(path, secrets.token_bytes(_MASTER_KEY_BYTES))
    return path.read_bytes()


def _create_once(path: Path, content: bytes) -> None:
    """Create a file unless another process was first."""
    own = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with atomic_write(own, mode=0o600) as temporary:
            temporary.write_bytes(content)
        os.link(own, path)
    except FileExistsError:
        return
    finally:
        own.unlink(missing_ok=True)


_log = logging.getLogger(__name__)

_LEASE_S: Final = 120.0
_NUM_SENDERS: Final = 8
_GONE: Final = 410  # the receiver asks for no further attempts


class WebhookSender:
    """Sends the entries of the outbox that are due, several at a time.

    Args:
        job_queue: The queue with the outbox.
        master_key: From `read_master_key`.
        allows_private: Whether webhooks may go to addresses that are not public.
        timeout_s: For one attempt as a whole; far below the lease of an entry.
        clock: Unix seconds, for the signatures.
    """

    def __init__(
        self,
        job_queue: OperatorQueue,
        master_key: bytes,
        *,
        allows_private: bool = False,
        timeout_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._job_queue = job_queue
        self._master_key = master_key
        self._allows_private = allows_private
        self._timeout_s = timeout_s
        self._clock = clock

    def run(self, stop: threading.Event, *, every_s: float = 1.0) -> None:
        """Send until `stop` is set; the body of a thread.

        A slow receiver occupies one sender until its time is over; the others continue.
        """
        sending: set[Future[None]] = set()
        with ThreadPoolExecutor(_NUM_SENDERS, thread_name_prefix="webhook") as senders:
            while not stop.is_set():
                sending |= self.start_due(senders, _NUM_SENDERS - len(sending))
                if len(sending) < _NUM_SENDERS:
                    stop.wait(every_s)
                else:
                    wait(sending, every_s, FIRST_COMPLETED)
                ended = {each for each in sending if each.done()}
                sending -= ended
                for each in ended:
                    each.result()  # a mistake of this program ends the thread

    def start_due(self, senders: Executor, limit: int) -> set["Future[None]"]:
        """Start one attempt for each entry that is due, at most `limit`; returns the attempts."""
        try:
            due = self._job_queue.claim_outbox(limit=limit, lease_s=_LEASE_S) if limit else ()
        except (BusyError, JobQueueError) as error:
            _log.warning("webhooks are delayed: %s", error)
            return set()
        return {senders.submit(self._deliver, entry) for entry in due}

    def _deliver(self, entry: OutboxEntry) -> None:
        host = urlsplit(entry.url).hostname  # the rest of the URL may be a secret
        about = {"job": entry.job, "event": entry.event, "host": host}
        failure = self._attempt(entry)
        delay_s = None
        if failure is None:
            _log.info("webhook of %s delivered", entry.job, extra=about)
        else:
            delay_s = None if failure.is_final else retry_in_s(entry.num_attempts)
            next_step = "given up" if delay_s is None else f"next attempt in {delay_s:g} s"
            _log.warning("webhook of %s: %s: %s", entry.job, failure.reason, next_step, extra=about)
        try:
            self._job_queue.settle_outbox(entry, retry_in_s=delay_s)
        except (BusyError, JobQueueError) as error:  # the entry is due again when its lease ends
            _log.warning("webhook of %s: not recorded: %s", entry.job, error, extra=about)

    def _attempt(self, entry: OutboxEntry) -> "_Failure | None":
        event, body = event_id(entry), event_body(entry)
        secret = webhook_secret(self._master_key, entry.owner)
        headers = signed_headers(event, body, secret, self._clock())
        try:
            status = safe_post.post(
                entry.url,
                body,
                headers,
                timeout_s=self._timeout_s,
                allows_private=self._allows_private,
            )
        except safe_post.ForbiddenAddressError as error:
            return _Failure(str(error), is_final=True)
        except safe_post.PostError as error:
            return _Failure(str(error), is_final=False)
        if 200 <= status < 300:
            return None
        return _Failure(f"the answer was {status}", is_final=status == _GONE)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an attempt failed, and whether further attempts are useless."""

    reason: str
    is_final: bool
