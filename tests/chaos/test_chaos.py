"""The real server under load and under blows: nothing is lost, nothing is made twice, all files are right."""

import time

import pytest

from tests.chaos import verdict
from tests.chaos.account import JournalReader, losses
from tests.chaos.house import House, small_disk
from tests.chaos.load import Load, Wish
from tests.chaos.storm import Blow, Storm

WISHES = (Wish(seed=1, num_steps=60), Wish(seed=2, num_steps=150))


@pytest.fixture
def house(tmp_path):
    with small_disk(tmp_path / "data", size_mib=64) as is_mounted:
        house = House(tmp_path / "data", tmp_path / "journal.jsonl", can_be_filled=is_mounted)
        try:
            yield house
        finally:
            house.end()


@pytest.mark.timeout(400)
def test_blows_of_every_kind_lose_nothing(house):
    house.start()
    load = Load(house.url, WISHES, num_on_the_way=2, seed=1)
    storm = Storm(house, seed=1, hold_s=(0.5, 1.5))
    load.start()
    blows = [Blow.KILL_WORKER, Blow.FREEZE_WORKER, Blow.KILL_BOTH, Blow.FREEZE_SERVER]
    blows += [Blow.FILL_DISK] if house.can_be_filled else []
    for blow in [*blows, Blow.KILL_SERVER]:
        time.sleep(storm.random.uniform(0.3, 2.0))
        storm.strike(blow)
    load.finish(within_s=120)

    assert verdict.check_every_job_is_completed_once(house, load) >= 2
    assert verdict.check_every_file_is_that_of_an_uninterrupted_job(load) >= 2
    events = JournalReader(house.journal).read()
    found = losses(events, storm.frozen + storm.full)
    assert len(found) >= 2
    verdict.check_little_was_computed_twice(found)
    assert house.stop() == 0
