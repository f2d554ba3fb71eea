"""Two hundred kills under a steady load: is anything lost, and how long does work stop?

    python benchmarks/chaos.py [--kills 200] [--workers 2] [--seed 1] [--folder DIR] [--write]

The script kills and freezes the real server and its workers and fills their disk at random moments,
in rounds of 25 kills. After each round it checks every promise: every accepted job completed once,
every file plays and equals that of an uninterrupted job byte for byte before the signature, and no
more than a checkpoint interval and a step was computed twice. The folder keeps finished rounds: a
restarted script continues with the next. At the end it kills workers without a supervisor, whose
jobs wait for the lease. `--write` writes the result to `benchmarks/results/` under today's date.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.chaos import checks  # noqa: E402
from tests.chaos.faults import Fault, FaultInjector  # noqa: E402
from tests.chaos.load import PROMPT, ClipRequest, Load  # noqa: E402
from tests.chaos.server import CHECKPOINT_EVERY_S, ChaosServer, small_disk  # noqa: E402
from tests.chaos.trace_events import TraceReader, losses, next_step_s  # noqa: E402

import reelgrid  # noqa: E402
from reelgrid import catalog  # noqa: E402
from reelgrid.jobs.job import JobKind, NewJob  # noqa: E402
from reelgrid.jobs.queue import LEASE_S  # noqa: E402
from reelgrid.jobs.request import JobRequest  # noqa: E402
from reelgrid.jobs.sql.sql_queue import open_job_queue  # noqa: E402
from reelgrid.measurement import processor_name  # noqa: E402
from reelgrid.spec import Request  # noqa: E402
from reelgrid.workers.settings import WorkerSettings  # noqa: E402
from reelgrid.workers.supervisor import PROGRAM  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
KILLS_A_ROUND = 25
DISK_MIB = 128
CLIPS = tuple(ClipRequest(seed, num_steps) for seed, num_steps in ((1, 60), (2, 120), (3, 240)))
WEIGHTS = {
    Fault.KILL_WORKER: 80,
    Fault.KILL_SERVER: 5,
    Fault.KILL_BOTH: 5,
    Fault.FREEZE_WORKER: 4,
    Fault.FREEZE_SERVER: 3,
    Fault.FILL_DISK: 3,
}
CALM_S = (0.3, 2.5)  # between two faults, beyond the recovery
NUM_LEASE_KILLS = 3


def run_round(number: int, num_kills: int, seed: int, num_workers: int, folder: Path) -> dict:
    trace = folder / f"round-{number}.jsonl"
    trace.unlink(missing_ok=True)
    with small_disk(folder / f"disk-{number}", DISK_MIB) as can_be_filled:
        disk = folder / f"disk-{number}"
        server = ChaosServer(disk, trace, num_workers=num_workers, can_be_filled=can_be_filled)
        try:
            return inject_faults(server, number, num_kills, seed)
        finally:
            server.kill_leftovers()


def inject_faults(server: ChaosServer, number: int, num_kills: int, seed: int) -> dict:
    start = time.monotonic()
    server.start()
    load = Load(server.url, CLIPS, num_on_the_way=3, seed=seed)
    injector = FaultInjector(server, seed)
    load.start()
    faults, loads = dict.fromkeys(Fault, 0), []
    while sum(faults[fault] for fault in Fault if fault.is_kill) < num_kills:
        (fault,) = injector.random.choices(list(WEIGHTS), WEIGHTS.values())
        if fault is Fault.FILL_DISK and not server.can_be_filled:
            continue
        time.sleep(injector.random.uniform(*CALM_S))
        injector.inject(fault)
        faults[fault] += 1
        loads.append(os.getloadavg()[0])
        print(f"round {number}: {dict(faults)}, {len(load.finished)} jobs done", flush=True)
    load.finish(within_s=900)
    num_jobs = checks.check_every_job_is_completed_once(server, load)
    num_files = checks.check_every_file_is_that_of_an_uninterrupted_job(load)
    events = TraceReader(server.trace).read()
    found = losses(events, injector.frozen + injector.full)
    num_checked = checks.check_little_was_computed_twice(found)
    assert server.stop() == 0
    return {
        "round": number,
        "seed": seed,
        "commit": commit(),
        "faults": {fault.value: count for fault, count in faults.items()},
        "disk_filled": server.can_be_filled,
        "jobs_accepted": len(load.accepted),
        "jobs_completed": num_jobs,
        "files_equal": num_files,
        "steps_computed": sum(event["event"] == "step" for event in events),
        "steps_computed_twice": sum(loss.num_steps for loss in found),
        "claims_interrupted": len(found),
        "interruptions_checked": num_checked,
        "losses": [asdict(loss) for loss in found],
        "recoveries_s": {
            fault.value: times for fault, times in injector.recoveries.items() if times
        },
        "load": loads,
        "took_s": time.monotonic() - start,
    }


def kill_without_supervisor(folder: Path) -> list[float]:
    """Seconds from a worker's death to its job's next step when only the lease reveals the death."""
    folder.mkdir(parents=True, exist_ok=True)
    trace = folder / "trace.jsonl"
    settings = WorkerSettings(
        database=str(folder / "jobs.sqlite"),
        blobs=str(folder / "blobs"),
        scratch=folder / "scratch",
        data=folder,
        trace=trace,
    )
    job_queue = open_job_queue(folder / "jobs.sqlite")
    card = catalog.find("embedded")
    request = JobRequest(request=card.complete(Request(PROMPT, seed=1, num_steps=600)))
    reader, times = TraceReader(trace), []
    for number in range(NUM_LEASE_KILLS):
        job = job_queue.submit(
            NewJob(
                kind=JobKind.VIDEO,
                owner="local",
                model="embedded",
                request=request.to_json(),
                estimate_s=12.0,
                memory_gib=0.5,
                num_steps=600,
                clip_s=2.0,
            )
        )
        first = start_worker(settings, 2 * number)
        wait_until(lambda job=job: job_queue.get(job.id).step >= 30)
        second = start_worker(settings, 2 * number + 1)
        wait_until(lambda: reader.count("ready") == 2 * len(times) + 2)
        at_s = time.monotonic()
        first.kill()
        first.wait()
        wait_until(lambda job=job, at_s=at_s: next_step_s(reader.read(), job.id, at_s) is not None)
        times.append(next_step_s(reader.read(), job.id, at_s))
        print(f"lease {number + 1}/{NUM_LEASE_KILLS}: {times[-1]:.1f} s", flush=True)
        job_queue.cancel(job.id)
        second.terminate()
        second.wait()
    job_queue.close()
    return times


def start_worker(settings: WorkerSettings, number: int) -> subprocess.Popen:
    name, scratch = f"worker-{number}", settings.scratch / str(number)
    own = settings.model_copy(update={"name": name, "scratch": scratch})
    file = settings.scratch.with_name(f"{name}.json")
    file.write_bytes(own.message())
    return subprocess.Popen([*PROGRAM, str(file)], env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_until(condition, at_most_s: float = 180.0) -> None:
    give_up_at = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def spread(numbers: list[float], *, unit: str = "_s") -> dict[str, object]:
    ordered = sorted(numbers)
    return {
        "count": len(ordered),
        f"median{unit}": round(statistics.median(ordered), 2),
        f"p90{unit}": round(ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))], 2),
        f"max{unit}": round(ordered[-1], 2),
    }


def kills_by_commit(rounds: list[dict]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in rounds:
        num_kills = sum(each["faults"][fault.value] for fault in Fault if fault.is_kill)
        found[each["commit"]] = found.get(each["commit"], 0) + num_kills
    return found


def commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def summary(rounds: list[dict], lease: list[float], num_workers: int) -> dict[str, object]:
    recoveries: dict[str, list[float]] = {}
    for each in rounds:
        for fault, times in each["recoveries_s"].items():
            recoveries.setdefault(fault, []).extend(times)
    added = ("jobs_accepted", "jobs_completed", "files_equal", "steps_computed")
    added += ("steps_computed_twice", "claims_interrupted", "interruptions_checked")
    lost = [loss for each in rounds for loss in each["losses"]]
    counted = [loss["lost_s"] for loss in lost if not loss["is_in_span"]]
    faults = {fault.value: sum(each["faults"][fault.value] for each in rounds) for fault in Fault}
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor_name(),
        "cores": os.cpu_count(),
        "load_average": spread([load for each in rounds for load in each["load"]], unit=""),
        "reelgrid": reelgrid.__version__,
        "kills_by_commit": kills_by_commit(rounds),
        "workers": num_workers,
        "checkpoint_every_s": CHECKPOINT_EVERY_S,
        "kills": sum(faults[fault.value] for fault in Fault if fault.is_kill),
        "faults": faults,
        "jobs_lost": sum(each["jobs_accepted"] - each["jobs_completed"] for each in rounds),
        **{name: sum(each[name] for each in rounds) for name in added},
        "computed_twice_s": spread(counted) if counted else None,
        "death_to_next_step": {fault: spread(times) for fault, times in recoveries.items()},
        "death_to_next_step_by_lease_alone": {"lease_s": LEASE_S, **spread(lease)},
        "took_s": round(sum(each["took_s"] for each in rounds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "reelgrid-chaos"
    )
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    rounds = []
    for number in range(-(-asked.kills // KILLS_A_ROUND)):
        kept = asked.folder / f"round-{number}.json"
        num_kills = min(KILLS_A_ROUND, asked.kills - number * KILLS_A_ROUND)
        if not kept.exists():
            seed = asked.seed + number
            result = run_round(number, num_kills, seed, asked.workers, asked.folder)
            kept.write_text(json.dumps(result), encoding="utf-8")
        rounds.append(json.loads(kept.read_text(encoding="utf-8")))
    kept = asked.folder / "lease.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=asked.folder) as name:
            kept.write_text(json.dumps(kill_without_supervisor(Path(name))), encoding="utf-8")
    lease = json.loads(kept.read_text(encoding="utf-8"))
    text = json.dumps(summary(rounds, lease, asked.workers), indent=2)
    print(text)
    if asked.write:
        path = RESULTS / f"{datetime.now(UTC).date().isoformat()}_chaos.json"
        path.write_text(text + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
