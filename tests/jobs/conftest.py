"""A queue on SQLite and one on a real PostgreSQL server; every contract test meets both."""

from collections.abc import Iterator

import pytest

from reelgrid.jobs.sql.sql_queue import SqlJobQueue
from tests.jobs.builders import Clock, empty, make_queue
from tests.jobs.postgres import postgres

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server of this test run."""
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def urls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"sqlite": f"sqlite:///{tmp_path_factory.mktemp('job_queue') / 'job_queue.sqlite'}"}


@pytest.fixture(scope="session", params=BACKENDS)
def _shared(
    request: pytest.FixtureRequest, urls: dict[str, str]
) -> Iterator[tuple[SqlJobQueue, Clock]]:
    if request.param == "postgresql":
        urls["postgresql"] = request.getfixturevalue("postgres_url")
    job_queue, clock = make_queue(urls[request.param])
    yield job_queue, clock
    job_queue.close()


@pytest.fixture
def job_queue(_shared: tuple[SqlJobQueue, Clock]) -> SqlJobQueue:
    """An empty queue."""
    empty(_shared[0])
    return _shared[0]


@pytest.fixture
def clock(_shared: tuple[SqlJobQueue, Clock]) -> Clock:
    """The clock of the queue."""
    return _shared[1]
