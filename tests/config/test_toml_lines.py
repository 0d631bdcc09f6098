"""Every key of a TOML file is found on the line on which it stands, whatever stands around it."""

import string
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.toml_lines import TomlLines, dotted

TRICKY = '''\
# [[meter]] in a comment is no table
title = "a = 1 # not a comment"      # line 2
text = """
[[meter]]
id = "inside a string"
"""
raw = \'\'\'
[site]\'\'\'
list = [
  "one",   # a ] in a comment
  "two]",
  { inline = [1, 2] },
]
"quoted key" = 1
a.b.c = 2

[site]   # a table
name = "x"
inline = { deep = 1, list = [
  1,
  2 ] }

[[meter]]
id = "first"

[[meter]]

id = "second"
[meter.place]
hall = 1
[[meter.seal]]
number = 1
[[meter.seal]]
number = 2

[[meter]]
id = "third"
'''


def line_of(text: str, start: str) -> int:
    """The line of the n-th occurrence, counted by hand."""
    return text[: text.index(start)].count("\n") + 1


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("title",), 2),
        (("text",), 3),
        (("raw",), 7),
        (("list",), 9),
        (("quoted key",), 14),
        (("a", "b", "c"), 15),
        (("site",), 17),
        (("site", "name"), 18),
        (("site", "inline", "deep"), 19),
        (("meter", 0), 23),
        (("meter", 0, "id"), 24),
        (("meter", 1), 26),
        (("meter", 1, "id"), 28),
        (("meter", 1, "place", "hall"), 30),
        (("meter", 1, "seal", 0, "number"), 32),
        (("meter", 1, "seal", 1, "number"), 34),
        (("meter", 2, "id"), 37),
        (("meter", 2, "missing"), 36),
        (("nowhere",), None),
    ],
)
def test_a_key_is_found_on_its_line(place: tuple[str | int, ...], line: int | None) -> None:
    tomllib.loads(TRICKY)
    assert TomlLines("site.toml", TRICKY).line(place) == line


def test_places_are_told_as_people_count() -> None:
    assert dotted(("meter", 0, "device_address")) == "meter[1].device_address"
    assert dotted(()) == "(file)"


KEYS = st.text(string.ascii_lowercase, min_size=1, max_size=6)
TEXTS = st.text(string.ascii_letters + string.digits + "#[]{}=,.'\n \t", max_size=20)


def written(value: object) -> str:
    if isinstance(value, str):
        return f'"""\n{value}"""' if "\n" in value else f'"{value}"'
    if isinstance(value, list):
        return "[\n" + "".join(f'  {written(one)}, # a comment with ] and "\n' for one in value) + "]"
    return str(value)


VALUES = st.recursive(st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_the_lines_of_any_document_are_those_where_it_was_written(tables: list[dict[str, object]]) -> None:
    text, expected = "", {}
    for index, table in enumerate(tables):
        expected["table", index] = text.count("\n") + 1
        text += "[[table]]\n"
        for key, value in table.items():
            expected["table", index, key] = text.count("\n") + 1
            text += f"{key} = {written(value)}\n"
    tomllib.loads(text)
    lines = TomlLines("x", text)
    assert {place: lines.line(place) for place in expected} == expected
