"""A process that works on a desk for a test: some of its jobs stall for longer than the lease.

Not a test: `test_processes` starts it, and kills it. Each job that it finished is a line on stdout.
"""

import random
import sys
import time

from reelgrid.errors import BusyError, StaleClaim
from reelgrid.jobs.sql import SqlDesk, open_desk
from reelgrid.jobs.work import Claim, Progress, WorkerInfo

LEASE_S = 0.5


def main(url: str, name: str) -> None:
    desk = open_desk(url, max_losses=1_000)
    chance = random.Random(name)  # each worker its own, the same in every run
    me = WorkerInfo(id=name, machine="cpu", memory_gib=8.0)
    while True:
        try:
            claim = desk.claim(me, lease_s=LEASE_S)
            if claim is None:
                time.sleep(0.05)
                continue
            work(desk, claim, chance)
            sys.stdout.write(f"finished {claim.id} {claim.epoch}\n")
        except StaleClaim:
            sys.stdout.write("stale\n")
        except BusyError:
            sys.stdout.write("busy\n")
        sys.stdout.flush()


def work(desk: SqlDesk, claim: Claim, chance: random.Random) -> None:
    for step in range(claim.state.step if claim.state else 0, 3):
        time.sleep(3 * LEASE_S if chance.random() < 0.03 else chance.uniform(0.0, 0.02))
        desk.save(claim, f"{claim.id}-{claim.epoch}-{step}", step)
        desk.beat(claim, Progress(stage="denoise", step=step))
    desk.finish(claim, {"video": f"{claim.id}-{claim.epoch}"})


if __name__ == "__main__":
    main(*sys.argv[1:])
