"""What an hour of a lease yields and costs, with start-ups, loading, losses and lost work.

A slot is a GPU that is leased, lost, leased again and so on. A lease starts for `s`, loads for `l`
and lives for an exponential time with hazard `h`. A checkpoint is saved every `τ`; later work is
lost with the GPU, unless a notice leaves time for one more. So one cycle of a slot lasts `1/h + s`
and keeps the work

    without notice   e^(-h l) τ / (e^(hτ) - 1)      as whole intervals between checkpoints
    with notice      e^(-h l) / h

of which the first is about `1/h - l - τ/2` where losses are rare.
"""

import math
from dataclasses import dataclass

from reelgrid.plan.offers.demand import LeaseTerms
from reelgrid.plan.offers.offer import Offer
from reelgrid.units import SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseYield:
    """One GPU of an offer, held for the time that the demand states.

    Attributes:
        working_share: Of the time, spent on work that counts.
        billed_share: Of the time, paid for.
        usd_per_h: Dollars for each hour of the lease: billed hours at the offer's price,
            with the first start-up and loading spread over all hours.
        starts_per_h: Starts of a slot in an hour, the first one not counted.
    """

    working_share: float
    billed_share: float
    usd_per_h: float
    starts_per_h: float


def lease_yield(offer: Offer, lease: LeaseTerms) -> LeaseYield:
    """Return what one GPU of an offer yields and costs; the formula is in the module's docstring."""
    start_h, load_h = offer.startup_s / SECONDS_PER_HOUR, lease.load_s / SECONDS_PER_HOUR
    hazard = offer.hazard_per_h
    billed_start_h = start_h if offer.is_startup_billed else 0.0
    cycle = 1 + hazard * start_h  # of a slot, in mean lifetimes
    billed_share = (1 + hazard * billed_start_h) / cycle
    first_h = billed_start_h + load_h
    return LeaseYield(
        working_share=_kept_share(offer, lease) / cycle,
        billed_share=billed_share,
        usd_per_h=offer.usd_per_h * (billed_share + first_h / lease.hours),
        starts_per_h=hazard / cycle,
    )


def _kept_share(offer: Offer, lease: LeaseTerms) -> float:
    """Return the share of a lease's life that becomes work that counts."""
    hazard = offer.hazard_per_h
    if hazard == 0:
        return 1.0
    loaded = math.exp(-min(700.0, hazard * lease.load_s / SECONDS_PER_HOUR))
    losses_per_interval = hazard * lease.checkpoint_every_s / SECONDS_PER_HOUR
    if offer.notice_s >= lease.checkpoint_s or losses_per_interval < 1e-12:
        return loaded
    return loaded * losses_per_interval / math.expm1(min(700.0, losses_per_interval))
