"""Authentication: API keys, access without keys from this machine, and signed links.

Without any key the server serves callers on the same machine; such a request must name this machine
as its host and come from no foreign page, so that no web site that a user visits can use it.
"""

import hashlib
import hmac
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from reelgrid.api.errors import ApiError
from reelgrid.jobs.job import LOCAL_OWNER, KeyLimits
from reelgrid.jobs.sql.keys import ApiKeys

REMEMBERED_S = 5.0
"""Seconds for which a key that was looked up is taken as known, even if it is revoked meanwhile."""

_MAX_REMEMBERED = 10_000
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class InvalidKeyError(ApiError):
    """A request without a known key."""

    def __init__(self, message: str) -> None:
        headers = {"www-authenticate": "Bearer"}
        super().__init__(401, message, code="invalid_api_key", headers=headers)


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    Attributes:
        owner: Id of the key.
        limits: Of the key.
    """

    owner: str
    limits: KeyLimits = field(default_factory=KeyLimits)


class Authenticator:
    """Finds the caller of a request; remembers keys for `REMEMBERED_S`.

    Args:
        keys: Where keys are looked up.
        may_be_open: Whether this machine needs no key as long as none has been made.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self, keys: ApiKeys, *, may_be_open: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._remembered: dict[bytes, tuple[float, Caller]] = {}
        self._lock = threading.Lock()
        self._may_be_open = may_be_open
        self._open_until_s = -math.inf

    def known(self, token: str) -> Caller | None:
        """Return the caller with this key if it was looked up a moment ago; reads no database."""
        found = self._remembered.get(_digest(token))
        return found[1] if found and found[0] > self._clock() else None

    def find(self, token: str) -> Caller | None:
        """Return the caller with this key, from the database."""
        key = self._keys.authenticate(token)
        if key is None:
            return None
        caller = Caller(key.id, key.limits)
        with self._lock:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[_digest(token)] = (self._clock() + REMEMBERED_S, caller)
        return caller

    @property
    def was_open(self) -> bool | None:
        """Whether no key was needed a moment ago; `None` if that has to be looked up again."""
        if not self._may_be_open:
            return False
        return True if self._clock() < self._open_until_s else None

    def is_open(self) -> bool:
        """Return whether no key is needed, from the database. Once a key was made, one is needed."""
        if not self._may_be_open:
            return False
        if self._keys.has_any():
            self._may_be_open, self._open_until_s = False, -math.inf
            return False
        self._open_until_s = self._clock() + REMEMBERED_S
        return True


async def identify(request: Request) -> Caller:
    """Return the caller of a request.

    Raises:
        InvalidKeyError: The key is missing, unknown or revoked.
    """
    authenticator: Authenticator = request.app.state.service.authenticator
    is_open = authenticator.was_open
    if await run_in_threadpool(authenticator.is_open) if is_open is None else is_open:
        _check_local(request)
        return Caller(LOCAL_OWNER)
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise InvalidKeyError("no API key was given: send the header Authorization: Bearer KEY")
    token = token.strip()
    caller = authenticator.known(token) or await run_in_threadpool(authenticator.find, token)
    if caller is None:
        raise InvalidKeyError("the API key is unknown or revoked")
    return caller


CallerHere = Annotated[Caller, Depends(identify)]


def _check_local(request: Request) -> None:
    """Refuse a request that a foreign web page sends through a user's browser (DNS rebinding, forms)."""
    origin = request.headers.get("origin")
    is_foreign = origin is not None and _host_of(origin) not in _LOOPBACK  # `null` too
    if _host_of(f"//{request.headers.get('host', 'localhost')}") not in _LOOPBACK or is_foreign:
        raise ApiError(
            403,
            "without keys this server serves its own machine only: make one with "
            "reelgrid keys create",
            code="not_local",
        )


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


LINK_VALID_S = 3_600.0
"""How long a link works."""


class LinkSigner:
    """Signs and checks.

    Args:
        secret: Known to this server only; the same after a restart, so that links outlive it.
    """

    def __init__(self, secret: bytes) -> None:
        assert len(secret) >= 16
        self._secret = secret

    def query(self, path: str) -> str:
        """Return the query that lets in at `path` from now on for `LINK_VALID_S`."""
        expires = int(time.time() + LINK_VALID_S)
        return f"expires={expires}&signature={self._sign(path, expires)}"

    def is_valid(self, path: str, expires: int | None, signature: str | None) -> bool:
        """Return whether this query lets in at `path` now."""
        if expires is None or signature is None or expires < time.time():
            return False
        return hmac.compare_digest(self._sign(path, expires).encode(), signature.encode())

    def _sign(self, path: str, expires: int) -> str:
        message = f"{path}\n{expires}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
