"""`reelgrid serve` in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

START_S = 150
STOP_S = 30


class Served:
    """A server with one worker and the embedded model, ready; it ends with the block."""

    def __init__(self, data: Path, *words: str, key: str | None = None, **environment: str) -> None:
        self.data = data
        self.key = key
        self._log = data / "log"
        with self._log.open("w", encoding="utf-8") as written:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reelgrid", "serve", "--port", "0", *words],
                env={
                    **os.environ,
                    "REELGRID_DATA": str(data),
                    "OMP_NUM_THREADS": "1",
                    **environment,
                },
                stderr=written,
            )
        try:
            self.url = self._wait()
        except BaseException:
            self._kill()
            raise

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None and self.process.poll() is None:
            self.stop()
        self._kill()

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _wait(self) -> str:
        """Wait until the server is ready, and return its address."""
        give_up_s = time.monotonic() + START_S
        while "ready on" not in self.log:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < give_up_s, self.log
            time.sleep(0.05)
        match = re.search(r"at (http://\S+)", self.log)
        assert match is not None
        return match[1]

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.split("/")[2].partition(":")
        return host, int(port)

    def ask(
        self, path: str, body: dict[str, object] | None = None, method: str | None = None
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))

    def wait_for(self, job: str, **wanted: object) -> dict[str, Any]:
        return self.wait_until(
            job, lambda seen: all(seen[name] == value for name, value in wanted.items())
        )

    def wait_until(self, job: str, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            seen = self.ask(f"/videos/{job}")
            if is_it(seen):
                return seen
            assert seen["status"] != "failed", seen
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        assert self.process.wait(STOP_S) == 0, self.log
