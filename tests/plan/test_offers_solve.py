import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelgrid.errors import PlanError, RequestError
from reelgrid.plan.offers import milp
from reelgrid.plan.offers.choice import choose
from reelgrid.plan.offers.demand import LeaseLimits, LeaseTerms
from reelgrid.plan.offers.lease_yield import lease_yield
from reelgrid.plan.offers.milp import SolverOptions
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.offers.sensitivity import binding_constraints, lease_changes
from reelgrid.plan.offers.solve import cheapest_leases, greedy_cost
from reelgrid.plan.offers.tables import sentence
from tests.plan.offer_examples import FACTS, RATES, demand, offer, problem, workload

ROOT = Path(__file__).parents[2]
EXACT = SolverOptions(gap=0.0)
PLACES = [("p", "a"), ("p", "b"), ("q", "a")]

offers_drawn = st.lists(
    st.builds(
        lambda gpu, provider_zone, count, cents, hazard, lease, trusted: Offer(
            gpu=gpu,
            count=count * lease,
            usd_per_h=cents / 100,
            provider=provider_zone[0],
            zone=provider_zone[1],
            startup_s=600.0,
            hazard_per_h=hazard,
            is_trusted=trusted,
            gpus_per_lease=lease,
        ),
        st.sampled_from(sorted(RATES)),
        st.sampled_from(PLACES),
        st.integers(0, 3),
        st.integers(1, 400),
        st.sampled_from([0.0, 0.01, 0.5]),
        st.sampled_from([1, 2]),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)
caps_drawn = st.one_of(st.none(), st.integers(0, 8))
limits_drawn = st.builds(
    LeaseLimits,
    gpus_per_provider=caps_drawn,
    gpus_per_zone=caps_drawn,
    survive_share=st.sampled_from([0.0, 0.0, 0.3, 0.7]),
    spare_share=st.sampled_from([0.0, 0.1]),
)
LEASE = LeaseTerms(hours=100.0, load_s=120.0, checkpoint_every_s=60.0, utilisation=0.8)


def choices(offers):
    return itertools.product(*(range(each.count // each.gpus_per_lease + 1) for each in offers))


def keeps_caps(offers, leases, limits):
    held = [n * each.gpus_per_lease for n, each in zip(leases, offers, strict=True)]
    for own, cap in (
        (lambda each: each.provider, limits.gpus_per_provider),
        (lambda each: (each.provider, each.zone), limits.gpus_per_zone),
    ):
        sums: dict[object, int] = {}
        for each, gpus in zip(offers, held, strict=True):
            sums[own(each)] = sums.get(own(each), 0) + gpus
        if cap is not None and any(total > cap for total in sums.values()):
            return False
    return True


def working(offers, leases):
    """Working GPUs by offer, from the formula of the documentation."""
    return [
        n * each.gpus_per_lease * lease_yield(each, LEASE).working_share * LEASE.utilisation
        for n, each in zip(leases, offers, strict=True)
    ]


def losses(offers, limits):
    """Possible losses: the share to be made, and the remaining offers."""
    everything = set(range(len(offers)))
    yield 1 + limits.spare_share, everything
    if limits.survive_share:
        for group in {(each.gpu, each.provider, each.zone) for each in offers}:
            left = {
                i for i in everything
                if (offers[i].gpu, offers[i].provider, offers[i].zone) != group
            }  # fmt: skip
            yield limits.survive_share, left


def cheapest_by_trying_all(offers, limits, is_enough):
    cost = [each.gpus_per_lease * lease_yield(each, LEASE).usd_per_h for each in offers]
    able = [
        sum(n * usd for n, usd in zip(leases, cost, strict=True))
        for leases in choices(offers)
        if keeps_caps(offers, leases, limits)
        and all(
            is_enough(working(offers, leases), left, share)
            for share, left in losses(offers, limits)
        )
    ]
    return min(able, default=None)


def agree(plan, tried):
    assert (plan is None) == (tried is None)
    if plan is not None:
        assert plan.usd_per_h == pytest.approx(tried, rel=1e-9, abs=1e-9)
        assert plan.has_proof


@settings(max_examples=150, deadline=None)
@given(offers_drawn, limits_drawn, st.integers(1, 20), st.sampled_from([0.0, 0.4, 1.0]))
def test_one_workload_costs_what_trying_all_choices_finds(offers, limits, minutes, trusted):
    def is_enough(gpus, left, share):
        made = {i: gpus[i] * RATES[offers[i].gpu] for i in left}
        private = sum(each for i, each in made.items() if offers[i].is_trusted)
        return (
            sum(made.values()) >= share * minutes * (1 - 1e-9)
            and private >= share * trusted * minutes * (1 - 1e-9)
        )  # fmt: skip

    posed = problem(offers, workload(minutes_per_h=minutes, trusted_share=trusted), limits=limits,
                    lease=LEASE)  # fmt: skip
    agree(cheapest_leases(posed, EXACT), cheapest_by_trying_all(offers, limits, is_enough))


@settings(max_examples=100, deadline=None)
@given(offers_drawn, limits_drawn, st.integers(1, 10), st.integers(1, 10))
def test_two_workloads_cost_what_trying_all_choices_finds(offers, limits, first, second):
    rates = {"RTX 4090": (1.0, 0.2), "L40S": (2.0, 0.9), "H100 SXM": (5.0, 3.0)}

    def is_enough(gpus, left, share):
        """Assign by comparative advantage, which is optimal for two kinds of work."""
        wanted = [share * first, share * second]
        for i in sorted(left, key=lambda i: -rates[offers[i].gpu][0] / rates[offers[i].gpu][1]):
            one, two = rates[offers[i].gpu]
            used = min(gpus[i], max(0.0, wanted[0]) / one)
            wanted[0] -= used * one
            wanted[1] -= (gpus[i] - used) * two
        return all(rest <= 1e-9 for rest in wanted)

    workloads = [
        workload(name, minutes, {gpu: pair[provider_zone] for gpu, pair in rates.items()})
        for provider_zone, (name, minutes) in enumerate([("drafts", first), ("finals", second)])
    ]
    posed = problem(offers, *workloads, limits=limits, lease=LEASE)
    agree(cheapest_leases(posed, EXACT), cheapest_by_trying_all(offers, limits, is_enough))


@settings(max_examples=100, deadline=None)
@given(offers_drawn, limits_drawn, st.integers(1, 20), st.sampled_from([0.0, 0.5]))
def test_the_choice_is_never_dearer_than_the_greedy_one(offers, limits, minutes, trusted):
    posed = problem(offers, workload(minutes_per_h=minutes, trusted_share=trusted), limits=limits)
    greedy = greedy_cost(posed)
    assert cost(posed) <= (float("inf") if greedy is None else greedy) * (1 + 1e-9)


def test_the_greedy_choice_can_be_dearer():
    offers = [offer("H100 SXM", 1, 2.4, zone="a"), offer("L40S", 5, 1.0, zone="b")]
    posed = problem(offers, workload(minutes_per_h=6.0))
    plan = cheapest_leases(posed, EXACT)
    assert plan is not None
    assert plan.leases == (0, 3)
    assert plan.usd_per_h == pytest.approx(3.0, rel=1e-5)
    assert greedy_cost(posed) == pytest.approx(3.4, rel=1e-5)


def cost(posed):
    plan = cheapest_leases(posed, EXACT)
    return float("inf") if plan is None else plan.usd_per_h


@settings(max_examples=60, deadline=None)
@given(offers_drawn, limits_drawn, st.integers(1, 20), st.data())
def test_more_is_never_dearer_and_stricter_never_cheaper(offers, limits, minutes, data):
    asked = workload(minutes_per_h=minutes, trusted_share=0.3)
    now = cost(problem(offers, asked, limits=limits))
    more = data.draw(offers_drawn)
    groups = {(each.gpu, each.provider_zone) for each in offers}
    # A new group adds a constraint to survive its own loss; not leasing it satisfies that.
    assert cost(problem([*offers, *more], asked, limits=limits)) <= now * (1 + 1e-9), groups
    index = data.draw(st.integers(0, len(offers) - 1))
    dearer = [*offers]
    dearer[index] = replace(offers[index], usd_per_h=offers[index].usd_per_h + 0.5)
    tighter = min(4, 4 if limits.gpus_per_provider is None else limits.gpus_per_provider)
    stricter = {
        "dearer": problem(dearer, asked, limits=limits),
        "more": problem(offers, replace(asked, minutes_per_h=minutes + 1.0), limits=limits),
        "trust": problem(offers, replace(asked, trusted_share=0.6), limits=limits),
        "survive": problem(
            offers, asked, limits=replace(limits, survive_share=min(1.0, limits.survive_share + 0.2))
        ),
        "provider": problem(
            offers, asked, limits=replace(limits, gpus_per_provider=tighter)
        ),
    }  # fmt: skip
    for name, posed in stricter.items():
        assert cost(posed) >= now * (1 - 1e-9), name


def test_a_promise_excludes_what_is_too_slow():
    offers = [offer("RTX 4090", 40, 0.1, zone="a"), offer("H100 SXM", 9, 3.0, zone="b")]
    asked = workload(
        minutes_per_h=10.0
    )  # clips of 81 frames at 16 fps: 304 s on a 4090, 61 on an H100
    slow = cheapest_leases(problem(offers, asked))
    quick = cheapest_leases(problem(offers, replace(asked, within_s=100.0)))
    assert slow is not None
    assert quick is not None
    assert slow.leases == (10, 0)
    assert quick.leases == (0, 2)


def test_survival_spreads_leases_over_zones():
    offers = [offer("L40S", 10, 1.0, zone="a"), offer("L40S", 10, 1.5, zone="b")]
    alone = cheapest_leases(problem(offers, workload(minutes_per_h=10.0)))
    spread = cheapest_leases(
        problem(offers, workload(minutes_per_h=10.0), limits=LeaseLimits(survive_share=0.4))
    )
    assert alone is not None
    assert spread is not None
    assert alone.leases == (5, 0)
    assert spread.leases == (3, 2)


def test_a_lease_is_taken_whole():
    plan = cheapest_leases(
        problem([offer("H100 SXM", 20, 1.0, gpus_per_lease=8)], workload(minutes_per_h=41))
    )
    assert plan is not None
    assert plan.leases == (2,)
    assert cheapest_leases(problem([offer("H100 SXM", 15, 1.0, gpus_per_lease=8)],
                                workload(minutes_per_h=41))) is None  # fmt: skip


def test_binding_constraints_say_what_one_unit_saves():
    offers = [offer("L40S", 3, 1.0, zone="a"), offer("H100 SXM", 9, 4.0, zone="b")]
    posed = problem(offers, workload(minutes_per_h=10.0))
    plan = cheapest_leases(posed, EXACT)
    assert plan is not None
    assert plan.usd_per_h == pytest.approx(7.0, rel=1e-5)  # three L40S make 6, an H100 the other 4
    binding = {each.constraint: each for each in binding_constraints(posed, plan, EXACT)[0]}
    count = binding["3 L40S at p/a are offered"]
    assert count.saves_usd_per_h == pytest.approx(0.0, abs=1e-6)  # a fourth spares no H100
    assert count.saves_without_usd_per_h == pytest.approx(2.0, rel=1e-5)  # five L40S cost 5
    assert len(binding) == 2  # the other constraint is the demand


def test_one_lease_more_or_less_is_solved_again():
    offers = [offer("L40S", 3, 1.0, zone="a"), offer("H100 SXM", 9, 4.0, zone="b")]
    posed = problem(offers, workload(minutes_per_h=10.0))
    plan = cheapest_leases(posed, EXACT)
    assert plan is not None
    changes = {each.gpu: each for each in lease_changes(posed, plan, EXACT)[0]}
    assert changes["L40S"].one_more_usd_per_h is None
    assert changes["L40S"].one_less_usd_per_h == pytest.approx(1.0, rel=1e-5)  # two H100
    assert changes["H100 SXM"].one_more_usd_per_h == pytest.approx(1.0, rel=1e-5)
    assert changes["H100 SXM"].one_less_usd_per_h is None


@pytest.fixture
def out_of_time(monkeypatch):
    """A solver whose time ran out, with or without a choice."""

    def pretend(**values):
        real = milp.solve

        def late(*args, **options):
            found = real(*args, **options)
            if found.status != "optimal":
                return found
            return replace(found, status="time_limit", **values)

        monkeypatch.setattr("reelgrid.plan.offers.solve.solve", late)

    return pretend


def test_a_choice_without_proof_says_how_much_cheaper_another_may_be(out_of_time):
    posed = problem([offer("L40S", 9, 1.0)], workload(minutes_per_h=10.0))
    out_of_time(bound=4.0)
    plan = cheapest_leases(posed)
    assert plan is not None
    assert not plan.has_proof
    assert plan.gap == pytest.approx(0.2, rel=1e-5)
    choice = choose(demand(workload(minutes_per_h=10.0)), [offer("L40S", 9, 1.0)], FACTS)
    assert "might cost up to 20.0% less" in sentence(choice)


def test_no_choice_in_time_is_another_error_than_infeasible(out_of_time):
    out_of_time(columns=())
    with pytest.raises(PlanError, match="--time-limit"):
        cheapest_leases(problem([offer("L40S", 9, 1.0)]))


def test_solver_options_out_of_range_are_refused():
    for values in ({"gap": -0.1}, {"gap": 1.0}, {"time_limit_s": 0.0}):
        with pytest.raises(RequestError, match="out of range"):
            SolverOptions(**values)


def test_a_rate_of_an_offer_is_refused_for_several_workloads():
    with pytest.raises(RequestError, match="for which of 2 workloads"):
        problem([offer(minutes_per_gpu_hour=2.0)], workload("a"), workload("b"))


def test_the_solver_writes_nothing_to_stdout():
    """HiGHS has printed debug lines (SciPy 1.17) and a banner (highspy 1.16.0) in spite of its options."""
    code = (
        "from tests.plan.offer_examples import *\n"
        "from reelgrid.plan.offers.solve import cheapest_leases\n"
        "assert cheapest_leases(problem([offer(), offer(zone='y')], workload(trusted_share=0.0)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""


def test_a_search_begun_with_known_leases_finds_the_same_cost():
    offers = [offer("H100 SXM", 1, 2.4, zone="a"), offer("L40S", 5, 1.0, zone="b")]
    posed = problem(offers, workload(minutes_per_h=6.0))
    for start in ((1, 1), (0, 3), (0, 5)):
        plan = cheapest_leases(posed, EXACT, start=start)
        assert plan is not None
        assert (plan.leases, plan.has_proof) == ((0, 3), True)


def test_workloads_of_one_name_are_refused():
    with pytest.raises(RequestError, match="a name of its own"):
        demand(workload("a"), workload("a"))
