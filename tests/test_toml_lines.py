"""Every key of a TOML text has its line, in every notation."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgrid.toml_lines import key_lines


def paths(value, path=()):
    """Every path of a parsed document."""
    yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from paths(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from paths(part, (*path, index))


TEXT = '''# a comment with [brackets] = "and quotes"
top = 1
"quoted key" = 2
'literal.key' = 3
a.b."c d" = 4

[table]
x = """
several
lines = 1
"""
y = "it's \\" # = 5"
w = """a\\"""" # "
z = [
  1,  # one
  [2, 3],
  { inner = 4, deep.er = 5 },
]

[[array]]
n = 1
  [[array.sub]]
  m = 1
  [[array.sub]]
  m = 2
[array.single]
s = 1
[[array]]
n = 2
  [[array.sub]]
  m = 3
[deep.er.still]
when = 1979-05-27 07:32:00
'''


def test_every_key_of_a_document_has_a_line_and_nothing_else_has():
    assert set(key_lines(TEXT)) == set(paths(tomllib.loads(TEXT)))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("top",), "top = 1"),
        (("quoted key",), '"quoted key" = 2'),
        (("literal.key",), "'literal.key' = 3"),
        (("a", "b", "c d"), 'a.b."c d" = 4'),
        (("table", "x"), 'x = """'),
        (("table", "y"), "y = "),
        (("table", "z", 1), "  [2, 3],"),
        (("table", "z", 2, "deep", "er"), "  { inner = 4, deep.er = 5 },"),
        (("array", 0), "[[array]]"),
        (("array", 0, "sub", 1, "m"), "  m = 2"),
        (("array", 0, "single", "s"), "s = 1"),
        (("array", 1, "n"), "n = 2"),
        (("array", 1, "sub", 0, "m"), "  m = 3"),
        (("deep", "er", "still", "when"), "when = "),
    ],
)
def test_a_key_has_the_line_that_it_stands_on(path, words):
    line = key_lines(TEXT)[path]
    assert TEXT.split("\n")[line - 1].startswith(words)


KEYS = st.text("abc-_1", min_size=1, max_size=3) | st.sampled_from(['"q k"', "'l.k'", '"\\u00e9"'])
SCALARS = st.sampled_from(
    ["1", "-2.5e3", "true", '"a # b"', "'[x]'", '"""m\nn"""', "'''m\n\"n'''", '"\\"="', "1e6"]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "[\n" + ",\n".join(parts) + "]"),
    max_leaves=4,
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["key", "table", "array", "dotted"]), KEYS, KEYS, VALUES),
        max_size=8,
    )
)
def test_whatever_tomllib_reads_has_lines_for_all_its_keys(statements):
    rows: list[str] = []
    for kind, one, two, value in statements:
        row = {
            "key": f"{one} = {value}",
            "table": f"[{one}.{two}]",
            "array": f"[[{one}]]",
            "dotted": f"{one} . {two} = {{ {two} = {value.replace(chr(10), '')} }} # end",
        }[kind]
        candidate = "\n".join([*rows, row])
        try:
            tomllib.loads(candidate)
        except tomllib.TOMLDecodeError:
            continue
        rows.append(row)
    text = "\n".join(rows)
    found = key_lines(text)
    assert set(found) == set(paths(tomllib.loads(text)))
