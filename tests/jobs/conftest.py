"""A desk on SQLite and one on a real PostgreSQL server; every contract test meets both."""

from collections.abc import Iterator

import pytest

from reelgrid.jobs.sql import SqlDesk
from tests.jobs.given import Clock, empty, make_desk
from tests.jobs.postgres import postgres

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server of this test run."""
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def urls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"sqlite": f"sqlite:///{tmp_path_factory.mktemp('desk') / 'desk.sqlite'}"}


@pytest.fixture(scope="session", params=BACKENDS)
def _shared(
    request: pytest.FixtureRequest, urls: dict[str, str]
) -> Iterator[tuple[SqlDesk, Clock]]:
    if request.param == "postgresql":
        urls["postgresql"] = request.getfixturevalue("postgres_url")
    desk, clock = make_desk(urls[request.param])
    yield desk, clock
    desk.close()


@pytest.fixture
def desk(_shared: tuple[SqlDesk, Clock]) -> SqlDesk:
    """An empty desk."""
    empty(_shared[0])
    return _shared[0]


@pytest.fixture
def clock(_shared: tuple[SqlDesk, Clock]) -> Clock:
    """The clock of the desk."""
    return _shared[1]
