import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "offers"
OFFERS = EXAMPLES / "offers.csv"


def answered(out):
    """The answer as JSON: one object on one line and nothing else."""
    (line,) = out.splitlines()
    return json.loads(line)


@pytest.mark.parametrize("name", ["studio.toml", "startup.json"])
def test_the_examples_are_solved_and_their_sums_are_right(reelgrid, name):
    code, out, _ = reelgrid("plan", "offers", EXAMPLES / name, OFFERS, "--json")
    assert code == 0
    found = answered(out)
    assert found["is_proved"]
    assert found["usd_per_h"] == pytest.approx(
        sum(each["cost_usd_per_h"] for each in found["leases"])
    )
    assert found["num_gpus"] == sum(each["num_gpus"] for each in found["leases"])
    assert found["bound_usd_per_h"] == pytest.approx(found["usd_per_h"], rel=1e-5)
    assert found["greedy_usd_per_h"] is None or found["greedy_usd_per_h"] >= found["usd_per_h"]
    for each in found["leases"]:
        assert each["num_gpus"] <= each["count"]
        assert each["num_gpus"] % each["gpus_per_lease"] == 0
        assert each["date"]
        assert each["source"]


def test_measured_speeds_add_no_uncertainty(reelgrid, here):
    text = (EXAMPLES / "startup.json").read_text(encoding="utf-8")
    rows = OFFERS.read_text(encoding="utf-8").splitlines()
    measured = ("RTX 4090", "RTX 5090", "RTX 3090")
    offers = here / "offers.csv"
    kept = [row for row in rows if row.startswith(("gpu,", *measured))]
    offers.write_text("\n".join(kept), encoding="utf-8")
    (here / "demand.json").write_text(text, encoding="utf-8")
    code, out, _ = reelgrid("plan", "offers", "demand.json", "offers.csv", "--json")
    assert code == 0
    costs = {each["usd_per_h"] for each in answered(out)["usd_per_h_by_confidence"]}
    assert len(costs) == 1


def test_people_read_the_answer_first_then_tables_and_get_a_page(reelgrid, here):
    code, out, err = reelgrid(
        "plan", "offers", EXAMPLES / "startup.json", OFFERS, "--html", "a.html"
    )
    assert code == 0
    assert out.startswith("Lease ")
    places = [
        out.index(title)
        for title in ("What to lease", "Binding constraints", "One lease more, one lease less")
    ]
    assert places == sorted(places)
    assert "\x1b" not in out
    assert "wrote a.html" in err
    page = (here / "a.html").read_text(encoding="utf-8")
    assert out.splitlines()[0] in page
    assert "plan offers startup.json offers.csv" in page


def test_an_infeasible_demand_is_one_line_and_exit_1(reelgrid, here):
    text = (EXAMPLES / "studio.toml").read_text(encoding="utf-8")
    (here / "x.toml").write_text(text.replace("within_s = 2400", "within_s = 20"), encoding="utf-8")
    code, out, err = reelgrid("plan", "offers", "x.toml", OFFERS)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "no offer makes a clip of finals" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none.toml", OFFERS), "none.toml"),
        ((EXAMPLES / "studio.toml", "none.csv"), "none.csv"),
        ((EXAMPLES / "studio.toml", OFFERS, "--gap", "2"), "out of range"),
        ((EXAMPLES / "studio.toml", OFFERS, "--time-limit", "0"), "out of range"),
        ((EXAMPLES / "startup.json", OFFERS, "--html", "none/a.html"), "make it first"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_2(reelgrid, words, message):
    code, out, err = reelgrid("plan", "offers", *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_the_message_for_an_unknown_gpu_names_a_similar_one(reelgrid, here):
    offers = here / "offers.csv"
    offers.write_text("gpu,count,usd_per_h,provider,zone\nRTX 4900,1,1,p,z\n", encoding="utf-8")
    code, _, err = reelgrid("plan", "offers", EXAMPLES / "studio.toml", offers)
    assert code == 2
    assert "RTX 4090" in err


def test_a_scenario_is_a_demand_at_its_likely_values(reelgrid):
    scenario = EXAMPLES.parent / "scenarios" / "startup-consumer-gpus.toml"
    code, out, _ = reelgrid("plan", "offers", scenario, OFFERS, "--json", "--gap", "0.01")
    assert code == 0
    assert answered(out)["leases"]
