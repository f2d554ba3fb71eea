"""The real server as a process, its workers, and the disk that both write to."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

CHECKPOINT_EVERY_S = 1.0
START_WITHIN_S = 180.0
MARGIN_BYTES = 1 << 20


class ChaosServer:
    """`reelgrid serve` on a folder, to be killed and started again.

    Args:
        folder: For the data; on a disk of its own if a test fills the disk.
        trace: File of the workers' events; on another disk.
        num_workers: Worker processes.
        can_be_filled: Whether the folder is a disk of its own.
    """

    def __init__(
        self, folder: Path, trace: Path, *, num_workers: int = 1, can_be_filled: bool = False
    ) -> None:
        self.folder = folder
        self.trace = trace
        self.can_be_filled = can_be_filled
        self._num_workers = num_workers
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._server: subprocess.Popen[bytes] | None = None
        self._workers: dict[int, psutil.Process] = {}
        self._log = trace.with_suffix(".log").open("ab")

    @property
    def database(self) -> Path:
        return self.folder / "jobs.sqlite"

    def start(self) -> None:
        """Start the server if it does not run, and return when it responds."""
        give_up_at = time.monotonic() + START_WITHIN_S
        while not self._answers():
            if self._server is None or self._server.poll() is not None:
                self._server = self._start_process()
            assert time.monotonic() < give_up_at, "the server does not start"
            time.sleep(0.1)

    def kill_server(self) -> None:
        assert self._server is not None
        self._find_workers()
        self._server.kill()
        self._server.wait()

    def workers(self) -> list[psutil.Process]:
        """The worker processes that run now."""
        self._find_workers()
        return [worker for worker in self._workers.values() if is_alive(worker)]

    def kill_all(self) -> None:
        assert self._server is not None
        workers = self.workers()
        self._server.kill()
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        self._server.wait()

    @contextlib.contextmanager
    def frozen(self, *, is_server: bool) -> Iterator[None]:
        """Stop the server or all workers, as a debugger does, inside the block."""
        assert self._server is not None
        pids = [self._server.pid] if is_server else [worker.pid for worker in self.workers()]
        for pid in pids:
            send(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                send(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def disk_full(self) -> Iterator[None]:
        """Leave no free byte on the disk of the data inside the block."""
        ballast = self.folder / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * 65_536)
            with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * 512)
            yield
        finally:
            ballast.unlink()

    def stop(self) -> int:
        """Ask the server to stop and return its exit code."""
        assert self._server is not None
        workers = self.workers()
        self._server.terminate()
        code = self._server.wait(60)
        psutil.wait_procs(workers, timeout=30)
        self._log.close()
        assert not any(map(is_alive, workers)), "a worker outlived its server"
        return code

    def kill_leftovers(self) -> None:
        """Kill all processes that still run."""
        if self._server is not None and self._server.poll() is None:
            self.kill_all()
        for worker in self.workers():
            worker.kill()

    def _find_workers(self) -> None:
        if self._server is None or self._server.poll() is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._server.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "reelgrid.workers" in child.cmdline():
                        self._workers[child.pid] = child

    def _answers(self) -> bool:
        if self._server is None or self._server.poll() is not None:
            return False
        try:
            return httpx.get(f"{self.url}/health", timeout=2.0).status_code == 200
        except httpx.HTTPError:
            return False

    def _start_process(self) -> "subprocess.Popen[bytes]":
        settings = {
            "REELGRID_DATA": str(self.folder),
            "REELGRID_CHECKPOINT_EVERY_S": str(CHECKPOINT_EVERY_S),
            "REELGRID_MIN_FREE_GB": "0.001",
            "REELGRID_LOG_LEVEL": "INFO",
            "OMP_NUM_THREADS": "1",
        }
        serve = ["-m", "reelgrid", "serve", "--port", str(self._port)]
        more = ["--workers", str(self._num_workers), "--trace", str(self.trace)]
        return subprocess.Popen(
            [sys.executable, *serve, *more],
            env={**os.environ, **settings},
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )


def is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[bool]:
    """Mount a disk of its own at `folder`, if the system allows it; yield whether it did."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "reelgrid-chaos", str(folder)]
    try:
        is_mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
