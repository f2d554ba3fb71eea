"""Events of the workers' trace: which work was done twice, and how long no work was done."""

import bisect
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Event = dict[str, Any]
Span = tuple[float, float]


@dataclass(frozen=True)
class Loss:
    """Work of one claim that the next claim of the job had to do again.

    Attributes:
        num_steps: Steps computed again.
        lost_s: The time that they had taken, and the time without a step before the end.
        slowest_step_s: The longest step among the claim's, to the next one.
        slowest_checkpoint_s: The longest of the claim's checkpoints, from its snapshot to the row.
    """

    job: str
    epoch: int
    num_steps: int
    lost_s: float
    slowest_step_s: float
    slowest_checkpoint_s: float
    is_in_span: bool


class TraceReader:
    """The workers' trace, read again as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._events: list[Event] = []

    def read(self) -> list[Event]:
        """Return all events up to now, in their order."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole, _, _ = file.read().rpartition(b"\n")
            self._offset += len(whole) + bool(whole)
            self._events += map(json.loads, whole.splitlines())
            self._events.sort(key=_at_s)
        return self._events

    def count(self, event: str) -> int:
        """Return how many events of a kind there are up to now."""
        return sum(each["event"] == event for each in self.read())


def since(events: Sequence[Event], at_s: float) -> Sequence[Event]:
    """Return the events later than a time."""
    return events[bisect.bisect_right(events, at_s, key=_at_s) :]


def _at_s(event: Event) -> float:
    at_s: float = event["at_s"]
    return at_s


def claims(events: Iterable[Event]) -> dict[tuple[str, int], list[Event]]:
    """Return the events of each claim, in their order."""
    found = defaultdict(list)
    for event in events:
        if "job" in event:
            found[event["job"], event["epoch"]].append(event)
    return dict(found)


def losses(events: Sequence[Event], without: Sequence[Span] = ()) -> list[Loss]:
    """Return the work that was done twice, claim by claim.

    Args:
        events: The trace.
        without: Spans of time in which no checkpoint could be saved, or in which the process was frozen.
    """
    by_claim = claims(events)
    return [
        loss
        for (job, epoch), before in by_claim.items()
        if (after := by_claim.get((job, epoch + 1)))
        and (loss := _loss(job, epoch, before, after, without))
    ]


def _loss(
    job: str, epoch: int, before: list[Event], after: list[Event], without: Sequence[Span]
) -> Loss | None:
    made = [event for event in before if event["event"] == "step"]
    again = [event for event in after if event["event"] == "step"]
    if not made:
        return None
    first = again[0]["step"] if again else after[0]["step"] + 1
    twice = [event for event in made if event["step"] >= first]
    if not twice:
        return Loss(job, epoch, 0, 0.0, 0.0, 0.0, is_in_span=False)
    kept = [event["at_s"] for event in made if event["step"] < first]
    since_s = kept[-1] if kept else before[0]["at_s"]
    times = [before[0]["at_s"], *(event["at_s"] for event in made)]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    saves = [event["took_s"] for event in before if event["event"] == "saved"]
    end_s = twice[-1]["at_s"]
    return Loss(
        job,
        epoch,
        len(twice),
        end_s - since_s,
        max(gaps),
        max(saves, default=0.0),
        is_in_span=any(start < end_s and stop > times[0] for start, stop in without),
    )


def job_of(events: Sequence[Event], worker_pid: int, at_s: float) -> str | None:
    """Return the job that the worker of this process had at that time; `None` if it had none."""
    name, job = None, None
    for event in events:
        if event["at_s"] > at_s:
            break
        if event["event"] == "ready" and event["pid"] == worker_pid:
            name = event["worker"]
        if name is not None and event["worker"] == name:
            is_begin = event["event"] == "claimed"
            is_end = event["event"] in {"completed", "failed", "waiting", "paused", "dropped"}
            job = event["job"] if is_begin else None if is_end else job
    return job


def next_step_s(events: Sequence[Event], job: str, at_s: float) -> float | None:
    """Return how long after that time the next step of a job was made; `None` if none was."""
    later = (
        event["at_s"] - at_s
        for event in since(events, at_s)
        if event["event"] == "step" and event["job"] == job
    )
    return next(later, None)
