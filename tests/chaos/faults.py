"""Faults injected into a server at random moments, reproducible by a seed."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import psutil

from tests.chaos.server import ChaosServer
from tests.chaos.trace_events import Event, Span, TraceReader, job_of, next_step_s, since

CALM_WITHIN_S = 180.0


class Fault(StrEnum):
    KILL_WORKER = "kill worker"
    KILL_SERVER = "kill server"
    KILL_BOTH = "kill both"
    FREEZE_WORKER = "freeze worker"
    FREEZE_SERVER = "freeze server"
    FILL_DISK = "fill disk"

    @property
    def is_kill(self) -> bool:
        return self in (Fault.KILL_WORKER, Fault.KILL_SERVER, Fault.KILL_BOTH)


@dataclass
class FaultInjector:
    """Injects faults into a server and records them.

    Attributes:
        hold_s: How long a freeze or a full disk lasts: at least, at most.
        recoveries: Seconds from a worker's death to the next step of its job, by fault.
        frozen: Spans in which processes were frozen.
        full: Spans in which the disk was full.
    """

    server: ChaosServer
    seed: int
    hold_s: tuple[float, float] = (0.5, 4.0)
    recoveries: dict[Fault, list[float]] = field(default_factory=dict)
    frozen: list[Span] = field(default_factory=list)
    full: list[Span] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._reader = TraceReader(self.server.trace)

    def inject(self, fault: Fault) -> None:
        """Inject one fault, and return when the work continues."""
        hold_s = self.random.uniform(*self.hold_s)
        victims = self._victims(fault)
        before_s = time.monotonic()
        self._do(fault, hold_s, victims)
        dead_s = time.monotonic() if fault.is_kill else before_s
        self.server.start()
        jobs = [job_of(self._reader.read(), victim.pid, before_s) for victim in victims]
        self._wait_for_steps(fault, dead_s, [job for job in jobs if job is not None])

    def _do(self, fault: Fault, hold_s: float, victims: list[psutil.Process]) -> None:
        match fault:
            case Fault.KILL_WORKER:
                for victim in victims:
                    victim.kill()
                psutil.wait_procs(victims, timeout=10)
            case Fault.KILL_SERVER:
                self.server.kill_server()
            case Fault.KILL_BOTH:
                self.server.kill_all()
            case Fault.FREEZE_WORKER | Fault.FREEZE_SERVER:
                is_server = fault is Fault.FREEZE_SERVER
                with self.server.frozen(is_server=is_server), self._span(self.frozen):
                    time.sleep(hold_s)
            case Fault.FILL_DISK:
                with self.server.disk_full(), self._span(self.full):
                    time.sleep(hold_s)

    def _victims(self, fault: Fault) -> list[psutil.Process]:
        """Return the workers that the fault kills: a busy one, else one that is starting."""
        if fault is Fault.KILL_BOTH:
            return self.server.workers()
        if fault is not Fault.KILL_WORKER:
            return []
        while not (found := self.server.workers()):
            time.sleep(0.05)
        known = {event["pid"] for event in self._reader.read() if event["event"] == "ready"}
        return [self.random.choice([each for each in found if each.pid in known] or found)]

    def _wait_for_steps(self, fault: Fault, at_s: float, jobs: list[str]) -> None:
        """Return when the jobs of dead workers, or any job at all, have made a step again."""
        give_up_at = time.monotonic() + CALM_WITHIN_S
        while True:
            events = self._reader.read()
            found = [next_step_s(events, job, at_s) for job in jobs]
            has_step = any(e["event"] == "step" for e in since(events, at_s))
            if has_step and None not in found:
                break
            if self._are_over(events, jobs):
                break
            assert time.monotonic() < give_up_at, f"no step after {fault}"
            time.sleep(0.05)
        measured = [each for each in found if each is not None]
        self.recoveries.setdefault(fault, []).extend(measured)

    @staticmethod
    def _are_over(events: list[Event], jobs: list[str]) -> bool:
        """Return whether the jobs had no step left: the fault hit while their files were written."""
        over = {event["job"] for event in events if event["event"] in {"completed", "failed"}}
        return bool(jobs) and over.issuperset(jobs)

    @contextmanager
    def _span(self, spans: list[Span]) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            spans.append((start, time.monotonic()))
