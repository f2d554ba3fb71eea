"""Each infeasible demand is explained by the constraint that makes it so."""

import pytest

from reelgrid.errors import PlanError
from reelgrid.plan.offers.choice import choose
from reelgrid.plan.offers.demand import LeaseLimits, PeakWorkload
from reelgrid.plan.offers.infeasible import explain_infeasible, minimal_infeasible_set
from reelgrid.plan.offers.milp import Constraint, SolverOptions, build_rows
from reelgrid.plan.offers.solve import cheapest_leases
from reelgrid.spec import Size
from tests.plan.offer_examples import FACTS, demand, offer, problem, workload

OPTIONS = SolverOptions()


def reasons(offers, *workloads, **more):
    posed = problem(offers, *workloads, **more)
    assert cheapest_leases(posed) is None
    return explain_infeasible(posed)


def test_the_message_for_too_little_memory_says_what_is_needed_and_offered():
    size = Size(1920, 1088)
    big = PeakWorkload(name="finals", model="wan2.2-t2v-a14b", minutes_per_h=1.0, size=size)
    (said,) = reasons([offer("T4", 9), offer("RTX 3090", 9)], big)
    assert said.startswith("no offer has the ")
    assert "GiB that wan2.2-t2v-a14b at 1920x1088 needs (finals)" in said
    assert said.endswith("the nearest, RTX 3090, has 22.8 GiB")


def test_the_message_for_a_broken_promise_names_the_fastest_gpu():
    (said,) = reasons([offer("L40S"), offer("RTX 4090", zone="b")], workload(within_s=10.0))
    assert said == (
        "no offer makes a clip of clips (wan2.1-t2v-1.3b) within 10 s: the fastest that has the "
        "memory, L40S, takes 152 s"
    )


def test_the_message_for_too_few_gpus_in_a_lease_names_the_workload():
    asked = PeakWorkload(name="big", model="wan2.1-t2v-1.3b", minutes_per_h=1.0, gpus_per_clip=(8,))
    (said,) = reasons([offer("L40S", 99, gpus_per_lease=4)], asked)
    assert said == "no offer has the 8 GPUs in one lease that big needs (gpus_per_clip)"


def test_the_message_for_trust_says_that_no_trusted_offer_exists():
    (said,) = reasons([offer()], workload(trusted_share=0.5))
    assert said == "a trusted share of 0.5 of clips needs trusted GPUs: none are offered"


def test_too_few_trusted_gpus_are_counted():
    offers = [offer("L40S", 8, is_trusted=True), offer("L40S", 90, zone="b")]
    said = reasons(offers, workload(minutes_per_h=48.0, trusted_share=0.5))
    assert "a trusted share of 0.5 of clips needs about 12 trusted GPUs, 8 are offered" in said


def test_the_message_for_too_few_gpus_says_what_they_can_make():
    said = reasons([offer("L40S", 4)], workload(minutes_per_h=10.0))
    assert said[0] == "10 minutes/h of clips are required at peak, 8 can be made"
    assert said[1] == "4 L40S are offered (with 1 lease more of each offer it could be done)"


def test_a_demand_beyond_the_solvers_precision_is_explained_without_zero():
    said = reasons([offer("L40S", 4)], workload(minutes_per_h=1e9))
    assert said[0].endswith("required at peak, less than a millionth of that can be made")
    said = reasons([offer("L40S", 0)], workload(minutes_per_h=10.0))
    assert said[0].endswith("required at peak, 0 can be made")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            LeaseLimits(gpus_per_provider=3),
            "at most 3 GPUs of provider p are allowed (with 2 GPUs more",
        ),
        (LeaseLimits(gpus_per_zone=4), "at most 4 GPUs of zone p/z are allowed (with 1 GPU more"),
        (LeaseLimits(zones={"p/z": 2}), "at most 2 GPUs of zone p/z are allowed (with 3 GPUs more"),
        (
            LeaseLimits(survive_share=0.5),
            "50% of the peak has to survive the loss of all L40S at p/z",
        ),
    ],
)
def test_the_message_names_the_limit_that_conflicts(limits, words):
    said = reasons([offer("L40S", 10)], workload(minutes_per_h=10.0), limits=limits)
    assert any(words in each for each in said), said


def test_without_any_constraint_of_the_conflict_the_problem_is_feasible():
    offers = [offer("L40S", 10), offer("H100 SXM", 1, provider="q", is_trusted=True)]
    posed = problem(
        offers,
        workload("a", 10.0, trusted_share=1.0),
        workload("b", 2.0),
        limits=LeaseLimits(gpus_per_provider=9, gpus_per_zone=9),
    )
    constraints = {
        each for each in build_rows(posed).constraints if each.topic not in {"capacity", "extra"}
    }
    conflict = minimal_infeasible_set(posed, OPTIONS)
    assert set(conflict) == {Constraint("trust", "a"), Constraint("count", "H100 SXM")}
    for left_out in conflict:
        without = (constraints - set(conflict)) | {left_out}
        assert cheapest_leases(posed, OPTIONS, without=without) is not None
    assert cheapest_leases(posed, OPTIONS, without=constraints - set(conflict)) is None


def test_the_error_is_one_line_with_every_reason():
    with pytest.raises(PlanError) as caught:
        choose(demand(workload(minutes_per_h=99.0)), [offer("L40S", 4)], FACTS)
    said = str(caught.value)
    assert said.startswith("test: infeasible: 99 minutes/h of clips are required at peak, 8 can be")
    assert "\n" not in said
    assert caught.value.exit_code == 1


def test_survival_alone_can_conflict_with_what_is_offered():
    offers = [offer("L40S", 10, zone="a"), offer("RTX 4090", 2, zone="b")]
    posed = problem(offers, workload(minutes_per_h=10.0), limits=LeaseLimits(survive_share=0.5))
    conflict = minimal_infeasible_set(posed, OPTIONS)
    assert set(conflict) == {Constraint("survival", "L40S at p/a"), Constraint("count", "RTX 4090")}
    said = explain_infeasible(posed)
    assert "2 RTX 4090 are offered (with 3 leases more of each offer it could be done)" in said
    assert any("50% of the peak has to survive" in each and "20.0% can" in each for each in said)
