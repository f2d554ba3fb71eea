import json

from reelgrid import catalog
from reelgrid.measurement import read_records
from reelgrid.settings import Settings


def test_the_catalogue_is_a_table(reelgrid):
    code, out, _ = reelgrid("models")
    assert code == 0
    for card in catalog.all_models():
        assert any(line.startswith(card.name) for line in out.splitlines())


def test_the_catalogue_is_json_with_an_option(reelgrid):
    cards = [json.loads(line) for line in reelgrid("models", "--json")[1].splitlines()]
    assert [card["name"] for card in cards] == [card.name for card in catalog.all_models()]
    assert cards[0]["default"]["size"] == "128x128"


def test_bench_appends_a_dated_record_for_each_size_and_run(reelgrid):
    command = ("bench", "tiny", "--size", "32x32", "--size", "48x32", "--runs", 2, "--steps", 2)
    assert reelgrid(*command)[0] == 0
    assert reelgrid(*command, "--json")[0] == 0
    records = read_records(Settings().measurements)
    assert [(each.width, each.run) for each in records] == [(32, 1), (32, 2), (48, 1), (48, 2)] * 2
    for each in records:
        assert each.machine
        assert len(each.step_s) == each.num_steps == 2
        assert each.denoise_s == sum(each.step_s)


def test_bench_appends_to_the_given_file(reelgrid, here):
    reelgrid("bench", "tiny", "--runs", 1, "--steps", 1, "--output", "mine.jsonl")
    assert len(read_records(here / "mine.jsonl")) == 1
