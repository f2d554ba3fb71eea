import hashlib

import pytest
from sqlalchemy import select

from reelgrid.errors import ConflictError, NotFoundError, RequestError
from reelgrid.jobs.job import KeyLimits
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.keys import ApiKeys
from reelgrid.jobs.sql.sql_queue import SqlJobQueue
from tests.jobs.builders import START_S, Clock


@pytest.fixture
def keys(job_queue: SqlJobQueue) -> ApiKeys:
    return ApiKeys(job_queue.database)


def test_a_key_opens_with_its_secret_and_with_nothing_else(keys: ApiKeys) -> None:
    key, secret = keys.create("ann", KeyLimits(max_jobs=3))
    other, _ = keys.create("bob")
    found = keys.authenticate(secret)
    assert found is not None
    assert (found.id, found.name, found.limits) == (key.id, "ann", KeyLimits(max_jobs=3))
    assert key.id != other.id
    wrong = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for text in ("", "rg_", wrong, secret + "A", secret.upper(), "é" * 46, key.prefix):
        assert keys.authenticate(text) is None


def test_the_secret_is_nowhere_in_the_database(job_queue: SqlJobQueue, keys: ApiKeys) -> None:
    _, secret = keys.create("ann")
    with job_queue.database.read() as connection:
        (row,) = connection.execute(select(schema.api_key)).mappings().all()
    assert row["digest"] == hashlib.sha256(secret.encode()).hexdigest()
    assert not any(secret in str(value) or secret[12:] in str(value) for value in row.values())
    assert secret.startswith(row["prefix"])


def test_a_revoked_key_is_refused(keys: ApiKeys, clock: Clock) -> None:
    key, secret = keys.create("ann")
    assert keys.has_any()
    clock.move(5)
    assert keys.revoke("ann").revoked_at == START_S + 5
    clock.move(5)
    assert keys.revoke(key.id).revoked_at == START_S + 5
    assert keys.authenticate(secret) is None
    assert not keys.has_any()
    with pytest.raises(NotFoundError, match="'eve'"):
        keys.revoke("eve")


def test_the_last_use_is_noted_to_a_minute(keys: ApiKeys, clock: Clock) -> None:
    _, secret = keys.create("ann")
    assert keys.list()[0].used_at is None
    for gap, noted in ((1, 1), (30, 1), (31, 62)):
        clock.move(gap)
        keys.authenticate(secret)
        assert keys.list()[0].used_at == START_S + noted


def test_names_are_unique_and_printable(keys: ApiKeys) -> None:
    keys.create("ann")
    with pytest.raises(ConflictError, match="'ann' already"):
        keys.create("ann")
    for name in ("", " ", "a\nb", "x" * 101):
        with pytest.raises(RequestError, match="printable"):
            keys.create(name)


def test_a_limit_is_above_zero() -> None:
    with pytest.raises(ValueError, match="max_frames is 0"):
        KeyLimits(max_frames=0)
