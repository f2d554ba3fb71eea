"""What a webhook says and how it is signed: OpenAI's events, by the rules of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (read
2026-11). Pure functions but for `read_master`. Not here: sending (`messenger`, `posting`).
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reelgrid.jobs.books import Notice
from reelgrid.store import write_whole

RETRY_IN_S: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds before each further attempt, as the specification recommends: given up after 28 hours."""

_MASTER_BYTES: Final = 32


def event_id(notice: Notice) -> str:
    """Return the event's id: the same at every attempt, so that a receiver can drop repetitions."""
    return f"evt_{hashlib.sha256(f'{notice.job}:{notice.event}'.encode()).hexdigest()[:32]}"


def event_body(notice: Notice) -> bytes:
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
        secret: From `secret_of`.
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


def secret_of(master: bytes, owner: str) -> str:
    """Return the secret of one key's webhooks; those of other keys cannot be told from it.

    Args:
        master: From `read_master`.
        owner: The key's id.
    """
    digest = hmac.digest(master, f"reelgrid webhook {owner}".encode(), "sha256")
    return f"whsec_{base64.b64encode(digest).decode()}"


def retry_in_s(num_attempts: int) -> float | None:
    """Return when to try again after so many attempts that failed; none is never."""
    return RETRY_IN_S[num_attempts - 1] if num_attempts <= len(RETRY_IN_S) else None


def read_master(data: Path) -> bytes:
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
        with write_whole(mine, mode=0o600) as temporary:
            temporary.write_bytes(content)
        os.link(mine, path)
    except FileExistsError:
        return
    finally:
        mine.unlink(missing_ok=True)
