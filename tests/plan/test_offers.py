import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelgrid.errors import RequestError
from reelgrid.plan.facts.hardware import read_hardware
from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.offers.demand import read_lease_demand
from reelgrid.plan.offers.offer import Offer, read_offers
from tests.plan.offer_examples import offer

HEAD = "gpu,count,usd_per_h,provider,zone"


def written(folder, text, name="offers.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_and_json_hold_the_same_offers(tmp_path):
    text = f"{HEAD},is_trusted,hazard_per_h\nL40S,4,0.79,akash,us,yes,0.01\n\nT4,1,1,q,eu,,\n"
    offers = read_offers(written(tmp_path, text))
    assert offers == (
        offer("L40S", 4, 0.79, "akash", "us", is_trusted=True, hazard_per_h=0.01),
        offer("T4", 1, 1.0, "q", "eu"),
    )
    rows = [{k: v for k, v in asdict(each).items() if v is not None} for each in offers]
    assert read_offers(written(tmp_path, json.dumps(rows), "offers.json")) == offers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}\nL40S,four,1,p,z\n", ":2: count: expected a whole number"),
        (f"{HEAD}\nL40S,4,1,p,z\nL40S,-1,1,p,z\n", ":3: count: expected a whole number from 0"),
        (f"{HEAD}\nL40S,4,nan,p,z\n", ":2: usd_per_h: expected a number"),
        (f"{HEAD}\nL40S,4,-2,p,z\n", ":2: usd_per_h: expected a number from 0"),
        (f"{HEAD}\nL40S,4,,p,z\n", "expected the key 'usd_per_h'"),
        (f"{HEAD}\nL40S,4,1,p\n", ":2: expected 5 cells, as the first line has, got 4"),
        (f"{HEAD},prise\nL40S,4,1,p,z,1\n", ":1: unknown column 'prise'"),
        (f"{HEAD},zone\nL40S,4,1,p,z,z\n", ":1: the column 'zone' comes twice"),
        (f"{HEAD},is_trusted\nL40S,4,1,p,z,maybe\n", ":2: is_trusted: expected true or false"),
        (f"{HEAD}\n", "expected 1 to 10,000 offers, got 0"),
        (f'{HEAD}\n"L40S,4,1,p,z\n', "expected valid CSV"),
    ],
)
def test_a_mistake_in_csv_is_named_with_line_and_column(tmp_path, text, message):
    with pytest.raises(RequestError) as caught:
        read_offers(written(tmp_path, text))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "offers.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected an array of offers"),
        ("[{]", ":1: expected valid JSON"),
        ('[{"gpu": "a", "gpu": "b"}]', "the key 'gpu' comes twice"),
        ("[" * 100_000, "nested too deep"),
        (
            '[{"gpu": "L40S", "count": true, "usd_per_h": 1, "provider": "p", "zone": "z"}]',
            "[0].count: expected a whole number",
        ),
        ('[{"gpu": "L40S", "cuont": 1}]', "unknown key 'cuont': did you mean 'count'?"),
    ],
)
def test_a_mistake_in_json_is_named_with_its_place(tmp_path, text, message):
    with pytest.raises(RequestError) as caught:
        read_offers(written(tmp_path, text, "offers.json"))
    assert message in str(caught.value)


def test_a_file_without_offers_is_refused(tmp_path):
    for name in ("none.csv", "none.txt"):
        with pytest.raises(RequestError):
            read_offers(tmp_path / name)
    latin = tmp_path / "latin.csv"
    latin.write_bytes("gpu\nGPÜ".encode("latin-1"))
    with pytest.raises(RequestError, match="UTF-8"):
        read_offers(latin)


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(alphabet='gpu,count\n"L40S1.-e9\x00é', max_size=80),
    suffix=st.sampled_from(["csv", "json"]),
)
def test_any_text_gives_offers_or_one_line(tmp_path_factory, text, suffix):
    path = tmp_path_factory.mktemp("any") / f"offers.{suffix}"
    path.write_text(f"{HEAD}\n{text}" if suffix == "csv" else text, encoding="utf-8")
    try:
        offers = read_offers(path)
    except RequestError as error:
        assert str(error)  # noqa: PT017  # either outcome is right
    else:
        assert all(isinstance(each, Offer) for each in offers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "x"\nworkloads = []\n', "expected at least one"),
        ('title = "x"\n[[workloads]]\nname = "a"\nmodel = "m"\nminutes_per_h = 0\n', ":5:"),
        ('title = "x"\n[lease]\nhour = 1\n[[workloads]]\n', ":3: lease.hour: unknown key 'hour'"),
        ('title = "x"\nconfidence = 1.0\nworkloads = []\n', ":2: confidence:"),
    ],
)
def test_a_mistake_in_a_demand_is_named_with_line_and_key(tmp_path, text, message):
    with pytest.raises(RequestError) as caught:
        read_lease_demand(written(tmp_path, text, "demand.toml"))
    assert message in str(caught.value)


def test_an_unknown_gpu_is_refused_at_its_line(tmp_path):
    known = read_hardware()
    path = written(tmp_path, "gpu,count,usd_per_h,provider,zone\nH100 SXM,1,2,a,z\nH900,1,2,a,z\n")
    with pytest.raises(RequestError, match=r"offers\.csv:3: gpu: no GPU is called 'H900'"):
        read_offers(path, known)
    row = {"gpu": "H900", "count": 1, "usd_per_h": 2, "provider": "a", "zone": "z"}
    path = written(tmp_path, json.dumps([row]), "offers.json")
    with pytest.raises(RequestError, match=r"offers\.json:1: \[0\]\.gpu: no GPU is called 'H900'"):
        read_offers(path, known)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('model = "wan9"', r":4: workloads\[0\]\.model: no architecture is known of 'wan9'"),
        (
            'model = "wan2.1-t2v-1.3b"\nminutes_per_gpu_hour = { H900 = 3 }',
            r":5: workloads\[0\]\.minutes_per_gpu_hour\.H900: no GPU is called 'H900'",
        ),
    ],
)
def test_an_unknown_model_or_gpu_of_a_demand_is_refused_at_its_line(tmp_path, line, message):
    text = f'title = "t"\n[[workloads]]\nname = "w"\n{line}\nminutes_per_h = 3\n'
    with pytest.raises(RequestError, match=message):
        read_lease_demand(written(tmp_path, text, "demand.toml"), shipped_facts())
