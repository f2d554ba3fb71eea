"""API keys: authentication and limits. The secret is shown once; only its digest is stored.

A secret is 32 random bytes, so one round of SHA-256 is enough: a slow hash protects passwords that people
choose by making each guess expensive, and 2**256 values cannot be guessed. A check then takes some
microseconds, on every request.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from sqlalchemy import RowMapping, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from reelgrid.errors import ConflictError, NotFoundError, RequestError
from reelgrid.jobs.job import KeyLimits
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.database import Database

PREFIX = "rg_"
_SECRET = re.compile(r"rg_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_SHOWN_CHARS = 8
_NOTE_USE_EVERY_S = 60.0
_KEY = schema.api_key.c


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, without its secret. Times are Unix seconds on the database's clock.

    Attributes:
        id: The owner of the jobs that are submitted with it.
        name: For people; unique.
        prefix: The first characters of the secret, to recognise it.
        used_at: When it was last used, to a minute.
        revoked_at: From this time on it is refused.
    """

    id: str
    name: str
    prefix: str
    limits: KeyLimits
    created_at: float
    used_at: float | None = None
    revoked_at: float | None = None


class ApiKeys:
    """The API keys in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, limits: KeyLimits | None = None) -> tuple[ApiKey, str]:
        """Return a new key and its secret, which cannot be shown again.

        Raises:
            RequestError: The name is empty, too long, or not printable.
            ConflictError: The name is taken.
        """
        if not _NAME.fullmatch(name) or not name.strip():
            raise RequestError("a key's name has 1 to 100 printable characters", param="name")
        secret = PREFIX + secrets.token_urlsafe(32)
        statement = (
            insert(schema.api_key)
            .values(
                id=f"key_{secrets.token_hex(8)}",
                name=name,
                prefix=secret[:_SHOWN_CHARS],
                digest=_digest(secret),
                limits=asdict(limits or KeyLimits()),
                created_at=self._database.now,
            )
            .returning(schema.api_key)
        )
        with self._database.write() as connection:
            try:
                row = connection.execute(statement).mappings().one()
            except IntegrityError:
                raise ConflictError(f"there is a key {name!r} already", param="name") from None
        return _to_key(row), secret

    def list(self) -> Sequence[ApiKey]:
        """Return all keys, the oldest first."""
        statement = select(schema.api_key).order_by(_KEY.created_at, _KEY.id)
        with self._database.read() as connection:
            return [_to_key(row) for row in connection.execute(statement).mappings()]

    def has_any(self) -> bool:
        """Return whether there is a key that is not revoked."""
        statement = select(_KEY.id).where(_KEY.revoked_at.is_(None)).limit(1)
        with self._database.read() as connection:
            return connection.execute(statement).first() is not None

    def revoke(self, name: str) -> ApiKey:
        """Return a key after revoking it: it is refused from now on, its jobs continue.

        Args:
            name: The key's name, id or prefix.

        Raises:
            NotFoundError: There is no such key.
            ConflictError: Several keys match.
        """
        is_meant = or_(_KEY.name == name, _KEY.id == name, _KEY.prefix == name)
        with self._database.write() as connection:
            found = connection.execute(select(schema.api_key).where(is_meant)).mappings().all()
            if not found:
                raise NotFoundError(f"there is no key {name!r}", param="name")
            if len(found) > 1:
                raise ConflictError(f"{len(found)} keys match {name!r}: give an id")
            key = _to_key(found[0])
            if key.revoked_at is not None:
                return key
            revoked = (
                update(schema.api_key)
                .where(_KEY.id == key.id)
                .values(revoked_at=self._database.now)
                .returning(schema.api_key)
            )
            return _to_key(connection.execute(revoked).mappings().one())

    def authenticate(self, secret: str) -> ApiKey | None:
        """Return the key of a secret, or `None` if it is unknown, revoked or malformed.

        The row is found by its digest. Timing tells a caller nothing about digests: nobody can choose a
        secret for a digest. The digests are compared in constant time.
        """
        if not _SECRET.fullmatch(secret):
            return None
        digest = _digest(secret)
        now = self._database.now
        is_due = or_(_KEY.used_at.is_(None), _KEY.used_at < now - _NOTE_USE_EVERY_S)
        found = select(schema.api_key, is_due.label("is_due")).where(_KEY.digest == digest)
        with self._database.read() as connection:
            row = connection.execute(found).mappings().first()
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        key = _to_key(row)
        if key.revoked_at is not None:
            return None
        if row["is_due"]:
            with self._database.write() as connection:
                used = update(schema.api_key).where(_KEY.id == key.id).values(used_at=now)
                connection.execute(used)
        return key


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _to_key(row: RowMapping) -> ApiKey:
    values = {field.name: row[field.name] for field in fields(ApiKey)}
    return ApiKey(**values | {"limits": KeyLimits(**row["limits"])})
