"""The real server under load and faults: no job is lost or done twice, and all files are right."""

import time

import pytest

from tests.chaos import checks
from tests.chaos.faults import Fault, FaultInjector
from tests.chaos.load import ClipRequest, Load
from tests.chaos.server import ChaosServer, small_disk
from tests.chaos.trace_events import TraceReader, losses

CLIPS = (ClipRequest(seed=1, num_steps=60), ClipRequest(seed=2, num_steps=150))


@pytest.fixture
def server(tmp_path):
    with small_disk(tmp_path / "data", size_mib=64) as is_mounted:
        server = ChaosServer(tmp_path / "data", tmp_path / "trace.jsonl", can_be_filled=is_mounted)
        try:
            yield server
        finally:
            server.kill_leftovers()


@pytest.mark.timeout(400)
def test_faults_of_every_kind_lose_nothing(server):
    server.start()
    load = Load(server.url, CLIPS, num_on_the_way=2, seed=1)
    injector = FaultInjector(server, seed=1, hold_s=(0.5, 1.5))
    load.start()
    faults = [Fault.KILL_WORKER, Fault.FREEZE_WORKER, Fault.KILL_BOTH, Fault.FREEZE_SERVER]
    faults += [Fault.FILL_DISK] if server.can_be_filled else []
    for fault in [*faults, Fault.KILL_SERVER]:
        time.sleep(injector.random.uniform(0.3, 2.0))
        injector.inject(fault)
    load.finish(within_s=120)

    assert checks.check_every_job_is_completed_once(server, load) >= 2
    assert checks.check_every_file_is_that_of_an_uninterrupted_job(load) >= 2
    events = TraceReader(server.trace).read()
    found = losses(events, injector.frozen + injector.full)
    assert len(found) >= 2
    checks.check_little_was_computed_twice(found)
    assert server.stop() == 0
