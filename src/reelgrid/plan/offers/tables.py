"""The choice of offers as a sentence, as tables and as JSON."""

from dataclasses import asdict
from typing import Any

from reelgrid.plan.offers.choice import Choice
from reelgrid.plan.offers.lease_yield import lease_yield
from reelgrid.report.table import Cell, Column, Table, number
from reelgrid.units import HOURS_PER_MONTH


def sentence(choice: Choice) -> str:
    """Return the answer in one or two sentences."""
    count = choice.num_gpus
    offers = sum(1 for leases in choice.plan.leases if leases)
    text = (
        f"Lease {count:,} GPU{'s' * (count != 1)} from {offers} offer{'s' * (offers != 1)} for "
        f"${number(choice.plan.usd_per_h)} an hour: ${number(choice.usd_per_minute)} for each "
        "minute of video that is made."
    )
    if not choice.plan.has_proof:
        text += (
            " Time ran out before this was proved cheapest: another choice might cost up to "
            f"{choice.plan.gap:.1%} less."
        )
    return text


def uncertainty_sentence(choice: Choice) -> str:
    """Return how the cost depends on the predicted times."""
    costs = dict(choice.usd_per_h_by_confidence)
    low, high = costs[0.1], costs[0.9]
    if low is not None and high is not None and high - low <= 1e-9 * high:
        return "All speeds are the user's own measurements, so they add no uncertainty to the cost."
    best, worst = (
        "no choice meets the demand" if usd is None else f"it costs ${number(usd)} an hour"
        for usd in (low, high)
    )
    return (
        f"If all GPUs are as fast as in the best tenth of cases, {best}; if they are as slow as in "
        f"the worst tenth, {worst}."
    )


def leases_table(choice: Choice) -> Table:
    """Return what to lease, offer by offer."""
    rows: list[list[Cell]] = []
    problem = choice.problem
    for index, leases in enumerate(choice.plan.leases):
        offer, of_gpu = problem.offers[index], problem.yields[index]
        if leases:
            gpus = leases * offer.gpus_per_lease
            rows.append([
                offer.gpu, offer.provider, offer.zone, gpus, offer.count, offer.usd_per_h,
                of_gpu.usd_per_h, gpus * of_gpu.usd_per_h, of_gpu.working_share * 100,
                offer.is_trusted,
            ])  # fmt: skip
    total: list[Cell] = ["sum", "", "", choice.num_gpus, "", "", "", choice.plan.usd_per_h, "", ""]
    return Table(
        title="What to lease",
        columns=[
            "GPU", "provider", "zone", "GPUs", "offered", Column(title="price", unit="$/h"),
            Column(title="with starts", unit="$/h", digits=4), Column(title="cost", unit="$/h", digits=4),
            Column(title="working", unit="% of time", digits=4), "trusted",
        ],
        rows=[*rows, total],
        note=(
            "Price is of one GPU for a leased hour; with starts, the first start-up and loading "
            "are spread over the lease. Working is the share of time that start-ups, loading and lost work leave."
        ),
        is_total_last=True,
    )  # fmt: skip


def work_table(choice: Choice) -> Table:
    """Return which GPUs make which workload at peak."""
    rows: list[list[Cell]] = []
    for (kind, name), gpus in choice.plan.work.items():
        workload = next(each for each in choice.problem.demand.workloads if each.name == name)
        speed = choice.problem.speeds.best(kind, workload)
        if speed and gpus > 1e-6:
            made = gpus * speed.minutes_per_gpu_hour
            trusted = " (trusted)" if kind.is_trusted else ""
            rows.append([
                name, kind.gpu + trusted, gpus, speed.gpus_per_clip, speed.seconds,
                speed.minutes_per_gpu_hour, made, speed.need_gib, speed.basis,
            ])  # fmt: skip
    return Table(
        title="Which GPUs make what at peak",
        columns=[
            "workload", "GPU", "GPUs at work", "GPUs a clip", Column(title="a clip takes", unit="s"),
            Column(title="rate", unit="minutes/GPU-hour"),
            Column(title="made", unit="minutes/h"), Column(title="memory", unit="GiB"), "based on",
        ],
        rows=sorted(rows, key=lambda row: (str(row[0]), str(row[1]))),
        note="GPUs at work are an average; GPUs that are idle, starting or loading are not counted.",
    )  # fmt: skip


def sensitivity_table(choice: Choice) -> Table:
    """Return the binding constraints, and what relaxing each would save."""
    skipped = (
        f" Not examined for lack of time: {'; '.join(choice.not_examined)}."
        if choice.not_examined
        else ""
    )
    return Table(
        title="Binding constraints",
        columns=[
            "constraint", "relaxed by", Column(title="saves", unit="$/h"),
            Column(title="saved without it", unit="$/h"),
        ],
        rows=[
            [each.constraint, each.unit, each.saves_usd_per_h, each.saves_without_usd_per_h]
            for each in choice.binding
        ],
        note="Found by solving again without each. Constraints that are not listed cost nothing." + skipped,
    )  # fmt: skip


def changes_table(choice: Choice) -> Table:
    """Return what one lease more or less of each GPU changes."""
    return Table(
        title="One lease more, one lease less",
        columns=[
            "GPU", "leased", "offered", "GPUs a lease",
            Column(title="one lease more adds", unit="$/h"),
            Column(title="one lease less adds", unit="$/h"),
        ],
        rows=[
            [
                each.gpu, each.leased, each.offered, " or ".join(map(str, each.gpus_per_lease)),
                _added(each.one_more_usd_per_h), _added(each.one_less_usd_per_h) if each.leased else None,
            ]
            for each in choice.changes
        ],
        note="All other leases are chosen again each time.",
    )  # fmt: skip


def _added(usd_per_h: float | None) -> Cell:
    return "infeasible" if usd_per_h is None else usd_per_h


def comparison_table(choice: Choice) -> Table:
    """Return the cost of this choice and of others."""
    rows: list[list[Cell]] = [["this choice", choice.plan.usd_per_h, _month(choice.plan.usd_per_h)]]
    rows.append(["no choice costs less than", choice.plan.bound_usd_per_h, None])
    greedy = choice.greedy_usd_per_h
    rows.append(["cheapest minutes first (greedy)", _added(greedy), _month(greedy)])
    rows += [
        [f"times that hold with {confidence:.0%}", _added(usd), _month(usd)]
        for confidence, usd in choice.usd_per_h_by_confidence
    ]
    return Table(
        title="Cost, compared",
        columns=[
            "choice", Column(title="cost", unit="$/h", digits=4),
            Column(title="a month of 730.5 h", unit="$"),
        ],
        rows=rows,
    )  # fmt: skip


def _month(usd_per_h: float | None) -> float | None:
    return None if usd_per_h is None else usd_per_h * HOURS_PER_MONTH


def as_json(choice: Choice) -> dict[str, Any]:
    """Return the answer with all digits."""
    plan, problem = choice.plan, choice.problem
    return {
        "title": problem.demand.title,
        "usd_per_h": plan.usd_per_h,
        "bound_usd_per_h": plan.bound_usd_per_h,
        "gap": plan.gap,
        "is_proved": plan.has_proof,
        "usd_per_minute": choice.usd_per_minute,
        "num_gpus": choice.num_gpus,
        "leases": [
            asdict(offer)
            | asdict(lease_yield(offer, problem.demand.lease))
            | {"usd_per_h": offer.usd_per_h, "num_gpus": leases * offer.gpus_per_lease}
            | {"cost_usd_per_h": leases * usd}
            for offer, leases, usd in zip(
                problem.offers, plan.leases, problem.lease_usd_per_h, strict=True
            )
            if leases
        ],
        "work": [
            {"workload": name, "gpu": kind.gpu, "is_trusted": kind.is_trusted, "working_gpus": gpus}
            for (kind, name), gpus in plan.work.items()
            if gpus > 1e-6
        ],
        "binding_constraints": [asdict(each) for each in choice.binding],
        "not_examined": list(choice.not_examined),
        "lease_changes": [asdict(each) for each in choice.changes],
        "usd_per_h_by_confidence": [
            {"confidence": confidence, "usd_per_h": usd}
            for confidence, usd in choice.usd_per_h_by_confidence
        ],
        "greedy_usd_per_h": choice.greedy_usd_per_h,
    }
