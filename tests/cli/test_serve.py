"""The options of `reelgrid serve` and how they reach the parts of the server."""

import pytest

from reelgrid.api.service import ServerLimits
from reelgrid.cli import wiring
from reelgrid.cli.serve_config import ServeConfig
from reelgrid.settings import Settings
from tests.api.served import Served


@pytest.fixture
def started(monkeypatch):
    """Return the options with which the command starts, and the settings from the environment."""
    found = []
    monkeypatch.setattr(wiring, "run", lambda config, settings: found.append((config, settings)))
    return found


def test_options_override_environment_variables(reelgrid, started, monkeypatch):
    monkeypatch.setenv("REELGRID_DATABASE", "postgresql://a/b")
    monkeypatch.setenv("REELGRID_BLOBS", "s3://a/b")
    monkeypatch.setenv("REELGRID_QUOTA_GB", "1")
    assert reelgrid("serve")[0] == 0
    assert reelgrid("serve", "--database", "x.db", "--quota-gb", 2, "--retain-days", 3)[0] == 0
    (_, usual), (_, changed) = started
    assert (usual.database_url, usual.blobs_url, usual.quota_gb) == (
        "postgresql://a/b",
        "s3://a/b",
        1,
    )
    assert (changed.database_url, changed.blobs_url) == ("x.db", "s3://a/b")
    assert (changed.quota_gb, changed.retain_videos_s) == (2, 3 * 86_400)


def test_limits_that_are_not_given_are_the_servers_own(reelgrid, started):
    assert reelgrid("serve", "--max-steps", 7, "--max-body-mib", 0.5)[0] == 0
    ((config, _),) = started
    usual = ServerLimits()
    limits = ServerLimits(**config.limits)
    assert (limits.max_steps, limits.max_body_bytes) == (7, 2**19)
    assert (limits.max_pixels, limits.max_queue_s) == (usual.max_pixels, usual.max_queue_s)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.0.1", False),
        ("example.com", False),
    ],
)
def test_only_a_loopback_address_needs_no_key(host, is_loopback):
    assert ServeConfig(host=host).may_be_open is is_loopback
    assert not ServeConfig(host=host, require_key=True).may_be_open


def test_a_torn_and_a_foreign_line_of_measurements_do_not_stop_a_server(tmp_path):
    Settings(data=tmp_path).measurements.write_text(
        '{"run": 1, "num\n{"a_field_of_another_version": 1}\n', encoding="utf-8"
    )
    with Served(tmp_path, "--workers", "0") as served:
        assert served.ask("/models")["data"][0]["id"] == "embedded"
