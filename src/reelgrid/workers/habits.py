"""How often a worker beats, saves and shows: plain numbers, known before torch is imported."""

from dataclasses import dataclass

from reelgrid.jobs.queue import HEARTBEAT_EVERY_S, LEASE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIntervals:
    """How a worker works.

    Attributes:
        lease_s: Without a beat for this long its job is given to another.
        heartbeat_every_s: Seconds from beat to beat.
        checkpoint_every_s: Seconds from save to save, fewer saves where they are dear.
        between_failures_s: Mean time between failures of a worker, for Daly's rule.
        preview_every_s: Seconds from preview to preview, at least; none makes none.
        prompts_in_metadata: Whether files hold the prompt, not only its hash.
    """

    lease_s: float = LEASE_S
    heartbeat_every_s: float = HEARTBEAT_EVERY_S
    checkpoint_every_s: float = 5.0
    between_failures_s: float = 4 * 3600.0
    preview_every_s: float | None = 1.0
    prompts_in_metadata: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_every_s < self.lease_s:
            raise ValueError(
                f"a beat every {self.heartbeat_every_s:g} s does not keep a lease of {self.lease_s:g} s"
            )
        if self.checkpoint_every_s < 0 or self.between_failures_s <= 0:
            raise ValueError("the time between saves is from zero, that between failures above")
