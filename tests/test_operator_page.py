"""The operator's page lists every setting, and its figures are those of the code."""

import re
from inspect import signature
from pathlib import Path

from reelgrid.api.service import ServerLimits
from reelgrid.cli.serve import serve
from reelgrid.jobs.webhooks import RETRY_IN_S
from reelgrid.settings import Settings

PAGE = (Path(__file__).parent.parent / "docs" / "operate.md").read_text(encoding="utf-8")


def test_the_page_names_every_setting_and_no_other():
    table = PAGE[PAGE.index("| variable |") :].split("\n\n")[0]
    named = set(re.findall(r"`REELGRID_(\w+)`", table))
    assert {name.lower() for name in named} == set(Settings.model_fields)


def test_defaults_are_those_of_the_code():
    usual = Settings.model_construct()
    assert (usual.retain_videos_s, usual.retain_images_s) == (7 * 86_400, 86_400)
    assert "7 days, 1 day" in PAGE
    assert (usual.retain_jobs_s, usual.min_free_gb, usual.checkpoint_every_s) == (90 * 86_400, 1, 5)


def test_the_page_has_the_schedule_of_webhooks():
    words = "5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h"
    units = {"s": 1, "min": 60, "h": 3_600}
    said = [float(n) * units[unit] for n, unit in re.findall(r"(\d+) (s|min|h)", words)]
    assert tuple(said) == RETRY_IN_S
    assert words in " ".join(PAGE.split())


def test_the_page_names_every_option_of_serve_and_no_other():
    table = PAGE[PAGE.index("| option |") :].split("\n\n")[0]
    named = set(re.findall(r"`(--[\w-]+)`", table))
    parameters = signature(serve).parameters
    shown = {f"--{name.replace('_', '-')}" for name in parameters if name != "trace"}
    assert named == shown


def test_limits_are_those_of_the_code():
    usual = ServerLimits()
    assert (usual.max_pixels, usual.max_frames, usual.max_steps) == (1920 * 1088, 1_000, 1_000)
    assert (usual.max_work_s, usual.max_queue_s) == (86_400, 86_400)
    assert usual.max_body_bytes == 32 * 2**20
    for words in ("1920 x 1088, 1,000, 1,000", "| 86,400 |", "| 32 |"):
        assert words in PAGE
