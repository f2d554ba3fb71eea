"""A worker process for a test: some of its jobs stall for longer than the lease.

Not a test: `test_processes` starts it, and kills it. Each job that it finished is a line on stdout.
"""

import random
import sys
import time

from reelgrid.errors import BusyError, StaleClaim
from reelgrid.jobs.messages import Claim, JobProgress, WorkerInfo
from reelgrid.jobs.sql.sql_queue import SqlJobQueue, open_job_queue

LEASE_S = 0.5


def main(url: str, name: str) -> None:
    job_queue = open_job_queue(url, max_losses=1_000)
    chance = random.Random(name)  # each worker its own, the same in every run
    me = WorkerInfo(id=name, machine="cpu", memory_gib=8.0)
    while True:
        try:
            claim = job_queue.claim(me, lease_s=LEASE_S)
            if claim is None:
                time.sleep(0.05)
                continue
            work(job_queue, claim, chance)
            sys.stdout.write(f"finished {claim.id} {claim.epoch}\n")
        except StaleClaim:
            sys.stdout.write("stale\n")
        except BusyError:
            sys.stdout.write("busy\n")
        sys.stdout.flush()


def work(job_queue: SqlJobQueue, claim: Claim, chance: random.Random) -> None:
    for step in range(claim.checkpoint.step if claim.checkpoint else 0, 3):
        time.sleep(3 * LEASE_S if chance.random() < 0.03 else chance.uniform(0.0, 0.02))
        job_queue.save_checkpoint(claim, f"{claim.id}-{claim.epoch}-{step}", step)
        job_queue.heartbeat(claim, JobProgress(stage="denoise", step=step))
    job_queue.finish(claim, {"video": f"{claim.id}-{claim.epoch}"})


if __name__ == "__main__":
    main(*sys.argv[1:])
