"""Addresses that let in without a key, for one file and for a while: signed, so that none is guessed.

Not here: which files there are.
"""

import hashlib
import hmac
import time

LINK_S = 3_600.0
"""How long a link works."""


class Links:
    """Signs and checks.

    Args:
        secret: Known to this server only; the same after a restart, so that links outlive it.
    """

    def __init__(self, secret: bytes) -> None:
        assert len(secret) >= 16
        self._secret = secret

    def query(self, path: str) -> str:
        """Return the query that lets in at `path` from now on for `LINK_S`."""
        expires = int(time.time() + LINK_S)
        return f"expires={expires}&signature={self._sign(path, expires)}"

    def is_good(self, path: str, expires: int | None, signature: str | None) -> bool:
        """Return whether this query lets in at `path` now."""
        if expires is None or signature is None or expires < time.time():
            return False
        return hmac.compare_digest(self._sign(path, expires).encode(), signature.encode())

    def _sign(self, path: str, expires: int) -> str:
        message = f"{path}\n{expires}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
