"""How often a worker beats, saves and shows: plain numbers, known before torch is imported."""

from dataclasses import dataclass

from reelgrid.jobs.desk import BEAT_EVERY_S, LEASE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a worker works.

    Attributes:
        lease_s: Without a beat for this long its job is given to another.
        beat_every_s: Seconds from beat to beat.
        save_every_s: Seconds from save to save, fewer saves where they are dear.
        between_failures_s: Mean time between failures of a worker, for Daly's rule.
        preview_every_s: Seconds from preview to preview, at least; none makes none.
        shows_prompts: Whether files hold the prompt, not only its hash.
    """

    lease_s: float = LEASE_S
    beat_every_s: float = BEAT_EVERY_S
    save_every_s: float = 5.0
    between_failures_s: float = 4 * 3600.0
    preview_every_s: float | None = 1.0
    shows_prompts: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.beat_every_s < self.lease_s:
            raise ValueError(
                f"a beat every {self.beat_every_s:g} s does not keep a lease of {self.lease_s:g} s"
            )
        if self.save_every_s < 0 or self.between_failures_s <= 0:
            raise ValueError("the time between saves is from zero, that between failures above")
