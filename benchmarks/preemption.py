"""A short job behind a long one, and the time until work begins, on the real worker process.

    python benchmarks/preemption.py [--runs 9] [--write]

A job of 10 steps runs alone, then behind a running job of 400 steps: the limit is 1.5 times its time
alone, plus two steps of the long job. Then the script measures the time from the admission of a job to
its first step on an idle, warm worker. Nothing else runs on the machine: the client only waits.
`--write` writes the result to `benchmarks/results/` under today's date.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from engine import RESULTS
from reelgrid import catalog
from reelgrid.jobs.job import Job, JobKind, NewJob
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.sql.sql_queue import SqlJobQueue, open_job_queue
from reelgrid.measurement import processor_name
from reelgrid.spec import Request
from reelgrid.workers.settings import WorkerSettings
from reelgrid.workers.supervisor import Supervisor

PROMPT = "a red ball rolls to the right"
SHORT_STEPS, LONG_STEPS = 10, 400
BEGUN_STEPS = 30
STEP_S = 0.03  # for the policy; the job queue measures the true one
POLL_S = 0.002


class Client:
    def __init__(self, job_queue: SqlJobQueue, supervisor: Supervisor, trace: Path) -> None:
        self.job_queue = job_queue
        self._supervisor = supervisor
        self._trace = trace

    def submit(self, num_steps: int) -> Job:
        card = catalog.find("embedded")
        request = Request(PROMPT, seed=1, num_steps=num_steps)
        job_request = JobRequest(request=card.complete(request))
        job = self.job_queue.submit(
            NewJob(
                kind=JobKind.VIDEO,
                owner="local",
                model="embedded",
                request=job_request.to_json(),
                estimate_s=STEP_S * num_steps,
                memory_gib=0.5,
                num_steps=num_steps,
                clip_s=2.0,
            )
        )
        self._supervisor.wake()
        return job

    def finish_s(self, job: Job, since_s: float) -> float:
        while not self.job_queue.get(job.id).phase.is_final:
            time.sleep(POLL_S)
        return time.monotonic() - since_s

    def steps(self, job: Job) -> list[float]:
        events = map(json.loads, self._trace.read_text(encoding="utf-8").splitlines())
        return [e["at_s"] for e in events if e["event"] == "step" and e["job"] == job.id]

    def wait_for_steps(self, job: Job, number: int) -> None:
        while len(self.steps(job)) < number:
            time.sleep(POLL_S)


@contextmanager
def running() -> Iterator[Client]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = WorkerSettings(
            database=str(folder / "jobs.sqlite"),
            blobs=str(folder / "blobs"),
            scratch=folder / "scratch",
            data=folder,
            trace=folder / "trace.jsonl",
        )
        with closing(open_job_queue(folder / "jobs.sqlite")) as job_queue:
            supervisor = Supervisor([settings], job_queue.worker_died)
            supervisor.start()
            try:
                while not supervisor.is_ready:
                    time.sleep(0.05)
                yield Client(job_queue, supervisor, folder / "trace.jsonl")
            finally:
                supervisor.stop()


def alone(client: Client) -> dict[str, float]:
    start = time.monotonic()
    job = client.submit(SHORT_STEPS)
    whole_s = client.finish_s(job, start)
    return {"whole_s": whole_s, "first_step_s": client.steps(job)[0] - start}


def behind(client: Client) -> dict[str, float]:
    long = client.submit(LONG_STEPS)
    client.wait_for_steps(long, BEGUN_STEPS)
    start = time.monotonic()
    short = client.submit(SHORT_STEPS)
    whole_s = client.finish_s(short, start)
    made = client.steps(long)
    until = [at_s for at_s in made if at_s < client.steps(short)[0]]
    gaps = [after - before for before, after in itertools.pairwise(until)]
    client.job_queue.cancel(long.id)
    while not client.job_queue.get(long.id).phase.is_final:
        time.sleep(POLL_S)
    return {
        "whole_s": whole_s,
        "long_steps_meanwhile": sum(start < at_s for at_s in until),
        "long_step_s": statistics.median(gaps),
    }


def median(runs: list[dict[str, float]], key: str) -> float:
    return round(statistics.median(run[key] for run in runs), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    singles, pairs = [], []
    with running() as client:
        alone(client)
        for number in range(asked.runs):
            singles.append(alone(client))
            pairs.append(behind(client))
            print(f"{number + 1}/{asked.runs}: {singles[-1]} {pairs[-1]}", flush=True)
    allowed_s = 1.5 * median(singles, "whole_s") + 2 * median(pairs, "long_step_s")
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor_name(),
        "runs": asked.runs,
        "short_steps": SHORT_STEPS,
        "long_steps": LONG_STEPS,
        "short_alone_s": median(singles, "whole_s"),
        "short_behind_long_s": median(pairs, "whole_s"),
        "allowed_s": round(allowed_s, 4),
        "is_kept": median(pairs, "whole_s") <= allowed_s,
        "runs_that_kept_it": sum(run["whole_s"] <= allowed_s for run in pairs),
        "long_step_s": median(pairs, "long_step_s"),
        "long_steps_meanwhile": max(run["long_steps_meanwhile"] for run in pairs),
        "submit_to_first_step_s": median(singles, "first_step_s"),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if asked.write:
        path = RESULTS / f"{datetime.now(UTC).date().isoformat()}_preemption.json"
        path.write_text(text + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
