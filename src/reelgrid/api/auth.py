"""Who asks: the key of a request, looked up by its digest and remembered for a few seconds.

Without any key the server serves whoever is on the same machine; then a request must also name this
machine as its host, and come from no foreign page, so that no web site a user visits can use it.
Not here: how keys are made and kept (`jobs.keys`).

Addresses that let in without a key, for one file and for a while: signed, so that none is guessed.

Not here: which files there are.
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
"""A key that is revoked works no longer than this."""

_MAX_REMEMBERED = 10_000
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "testserver"})


class InvalidKeyError(ApiError):
    """A request without a key that is known."""

    def __init__(self, message: str) -> None:
        headers = {"www-authenticate": "Bearer"}
        super().__init__(401, message, code="invalid_api_key", headers=headers)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        owner: Id of the key.
        limits: What the key may have.
    """

    owner: str
    limits: KeyLimits = field(default_factory=KeyLimits)


class Authenticator:
    """Lets requests in.

    Args:
        keys: Where keys are looked up.
        may_be_open: Whether whoever is on this machine may come in as long as there is no key.
        clock: Seconds that only grow.
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
        """Return who has this key, if that was asked a moment ago."""
        found = self._remembered.get(_digest(token))
        return found[1] if found and found[0] > self._clock() else None

    def find(self, token: str) -> Caller | None:
        """Return who has this key; asks the database."""
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
        """Whether no key was needed a moment ago; none if that has to be asked again."""
        if not self._may_be_open:
            return False
        return True if self._clock() < self._open_until_s else None

    def is_open(self) -> bool:
        """Return whether no key is needed; asks the database. Once there was a key, one is."""
        if not self._may_be_open:
            return False
        if self._keys.has_any():
            self._may_be_open, self._open_until_s = False, -math.inf
            return False
        self._open_until_s = self._clock() + REMEMBERED_S
        return True


async def identify(request: Request) -> Caller:
    """Return who sent the request.

    Raises:
        InvalidKeyError: Nobody that is known.
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
    """Refuse what a foreign web page sends through a user's browser (DNS rebinding, forms)."""
    origin = request.headers.get("origin")
    is_foreign = origin is not None and _host_of(origin) not in _LOOPBACK  # `null` is foreign too
    if _host_of(f"//{request.headers.get('host', 'localhost')}") not in _LOOPBACK or is_foreign:
        raise ApiError(
            403,
            "without keys this server answers to its own machine only: make one with "
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
