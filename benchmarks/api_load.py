"""Load on `reelgrid serve`: clients that poll and clients that submit, on this machine.

    python benchmarks/api_load.py [--seconds 60] [--pollers 200] [--submissions 20]

The server runs as users run it, with its worker and SQLite. This process runs the clients: one
connection each, one poll per second, and evenly spaced submissions as the openai package sends them
(multipart). Latencies count from the time when a request was due, so that the requests that a stall
delays do not hide it; the delay of this process itself is reported too. Prints one JSON object, and
writes it to --output.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reelgrid.measurement import processor_name

BOUNDARY = "reelgrid-load"
BODY = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na red ball\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="num_inference_steps"\r\n\r\n4\r\n'
    f"--{BOUNDARY}--\r\n"
).encode()


@dataclass
class Measurements:
    """What the clients measured."""

    poll_s: list[float] = field(default_factory=list)
    response_s: list[float] = field(default_factory=list)
    submit_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)


class Connection:
    """One keep-alive connection; speaks just enough HTTP."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._host, self._port, self._key = host, port, key
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(
        self, method: str, path: str, body: bytes = b"", kind: str = ""
    ) -> tuple[int, bytes]:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._key}\r\n"
        if body:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        content = await self._reader.readexactly(int(length[1]) if length else 0)
        return int(head.split(" ", 2)[1]), content

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


async def poll(
    measured: Measurements, connection: Connection, starts_s: float, ends_s: float, number: int
) -> None:
    """Poll one job after the other, once a second."""
    due_s = starts_s
    while due_s < ends_s:
        await asyncio.sleep(due_s - time.perf_counter())
        sent_s = time.perf_counter()
        measured.late_s.append(sent_s - due_s)
        job = (
            measured.ids[(number * 7919) % len(measured.ids)]
            if measured.ids
            else "video_" + "0" * 24
        )
        with counted(measured, "poll"):
            status, _ = await connection.request("GET", f"/v1/videos/{job}")
            measured.statuses[f"poll {status}"] += 1
        measured.poll_s.append(time.perf_counter() - due_s)
        measured.response_s.append(time.perf_counter() - sent_s)
        due_s += 1.0


async def submit(measured: Measurements, connection: Connection, due_s: float) -> None:
    await asyncio.sleep(due_s - time.perf_counter())
    with counted(measured, "submit"):
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        status, content = await connection.request("POST", "/v1/videos", BODY, kind)
        measured.statuses[f"submit {status}"] += 1
        if status == 200:
            measured.ids.append(json.loads(content)["id"])
    measured.submit_s.append(time.perf_counter() - due_s)


@contextlib.contextmanager
def counted(measured: Measurements, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, asyncio.IncompleteReadError) as error:
        measured.statuses[f"{what} {type(error).__name__}"] += 1


async def load(options: argparse.Namespace, port: int, key: str) -> Measurements:
    measured = Measurements()
    connections = [Connection("127.0.0.1", port, key) for _ in range(options.pollers + 20)]
    now_s = time.perf_counter()
    for connection in connections:  # connect first: only responses are measured
        await connection.request("GET", "/health")
    await submit(measured, connections[-1], now_s)
    measured.submit_s.clear()
    starts_s = time.perf_counter() + 0.5
    ends_s = starts_s + options.seconds
    polling = [
        poll(measured, connections[n], starts_s + n / options.pollers, ends_s, n)
        for n in range(options.pollers)
    ]
    writers = connections[options.pollers :]
    gap_s = 1 / options.submissions
    num = round(options.seconds * options.submissions)

    async def submitting(writer: int) -> None:
        for n in range(writer, num, len(writers)):
            await submit(measured, writers[writer], starts_s + n * gap_s)

    await asyncio.gather(*polling, *(submitting(n) for n in range(len(writers))))
    for connection in connections:
        connection.close()
    return measured


@contextlib.asynccontextmanager
async def served(folder: Path, database: str | None) -> AsyncIterator[tuple[int, int, str]]:
    """Yield the port, process id and a key of a server with an empty job queue."""
    from reelgrid.jobs.sql.keys import ApiKeys
    from reelgrid.jobs.sql.sql_queue import open_database

    job_queue = open_database(database or folder / "jobs.sqlite")
    _, key = ApiKeys(job_queue).create(f"load {time.time()}")
    job_queue.close()
    log = folder / "log"
    command = [sys.executable, "-m", "reelgrid", "serve", "--port", "0"]
    command += ["--database", database] if database else []
    with log.open("w", encoding="utf-8") as written:
        process = subprocess.Popen(
            command,
            env={**os.environ, "REELGRID_DATA": str(folder), "OMP_NUM_THREADS": "1"},
            stderr=written,
        )
    try:
        while "ready on" not in log.read_text(encoding="utf-8"):
            if process.poll() is not None:
                raise SystemExit(log.read_text(encoding="utf-8"))
            await asyncio.sleep(0.1)
        match = re.search(r"http://\S+?:(\d+)/v1", log.read_text(encoding="utf-8"))
        assert match is not None
        yield int(match[1]), process.pid, key
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        sys.stderr.write(log.read_text(encoding="utf-8"))


def worker_of(pid: int) -> int:
    """Return the process that the server started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    others = (task for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(pid))
    for task in others:
        children += (task / "children").read_text(encoding="ascii").split()
    return int(children[0])


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantiles_ms(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=1000)
    named = {"p50": cuts[499], "p95": cuts[949], "p99": cuts[989], "max": max(seconds)}
    return {name: round(1e3 * value, 2) for name, value in named.items()}


async def measure(options: argparse.Namespace) -> dict[str, object]:
    load_before = os.getloadavg()
    gc.disable()  # pauses of the clients would count as the server's
    with tempfile.TemporaryDirectory(prefix="reelgrid-load-") as folder:
        async with served(Path(folder), options.database) as (port, pid, key):
            processes = {"server": pid, "worker": worker_of(pid), "clients": os.getpid()}
            before_s = {name: cpu_s(number) for name, number in processes.items()}
            measured = await load(options, port, key)
            used_s = {name: cpu_s(number) - before_s[name] for name, number in processes.items()}
    errors = {
        name: num
        for name, num in measured.statuses.items()
        if name not in {"poll 200", "submit 200"}
    }
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor_name(),
        "python": platform.python_version(),
        "seconds": options.seconds,
        "pollers": options.pollers,
        "submissions_per_s": options.submissions,
        "database": "postgresql" if options.database else "sqlite",
        "worker": "one, embedded model, at work on the same cores",
        "num_polls": len(measured.poll_s),
        "num_submissions": len(measured.submit_s),
        "errors": errors,
        "poll_ms": quantiles_ms(measured.poll_s),
        "poll_ms_after_sending": quantiles_ms(measured.response_s),
        "submit_ms": quantiles_ms(measured.submit_s),
        "client_late_ms": quantiles_ms(measured.late_s),
        "share_of_one_core": {name: round(s / options.seconds, 3) for name, s in used_s.items()},
        "load_average_before": load_before[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pollers", type=int, default=200)
    parser.add_argument("--submissions", type=float, default=20.0)
    parser.add_argument("--database")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found = asyncio.run(measure(options))
    text = json.dumps(found, indent=2)
    sys.stdout.write(text + "\n")
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
