"""docs/architecture.md names every package, and its glossary points at files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GLOSSARY = [
    re.split(r" *(?<!\\)\| *", line.strip("| \n"))
    for line in PAGE.split("## Glossary")[1].splitlines()
    if line.startswith("| ") and not line.startswith("| term")
]


def test_the_glossary_has_at_most_forty_terms_in_alphabetical_order_with_one_line_each():
    terms = [term for term, _, _ in GLOSSARY]
    assert 30 <= len(terms) <= 40
    assert terms == sorted(terms, key=str.lower)
    assert all(meaning and len(meaning) <= 120 for _, meaning, _ in GLOSSARY)


def test_every_term_of_the_glossary_is_spoken_of_in_the_file_that_it_names():
    for term, _, file in GLOSSARY:
        path = ROOT / file.strip("`")
        assert path.is_file(), file
        text = re.sub(r"[\s_-]+", " ", path.read_text(encoding="utf-8").lower())
        words = term.lower().replace("-", " ").removesuffix("s")
        joined = words.replace(" ", "")
        assert words in text or joined in text.replace(" ", ""), (term, file)


def test_the_table_of_packages_names_every_package_and_module_at_the_top_and_no_other():
    table = PAGE.split("| package |")[1].split("\n\n")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines()[1:] if "|" in line]
    named = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    source = ROOT / "src" / "reelgrid"
    packages = {path.parent.name for path in source.glob("*/__init__.py")}
    modules = {path.stem for path in source.glob("[!_]*.py")}
    assert named == packages | modules
