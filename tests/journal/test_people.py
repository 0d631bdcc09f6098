"""Names of people: what everybody can see, and no two that look alike."""

from pathlib import Path

import pytest

from gateway.journal.entries import EntryKind
from gateway.journal.inbox import submit, take_in
from gateway.journal.people import check_name
from tests.journal.journals import open_journal


@pytest.mark.parametrize(
    "name",
    ["Wang Li", "王 力", "王Li", "李明 Mike", "Иван Петров", "Νίκος", "O\u2019Brien", "Sørensen-Müller", "ＷＡＮＧ"],
)
def test_names_of_people_may_stand(name: str) -> None:
    check_name(name, "author")


@pytest.mark.parametrize(
    "sign", "\u00ad\u034f\u180b\u180f\u2065\u2800\ufe00\ufe0f\U00016fe4\U0001bca0\U0001d173\U000e0100"
)
def test_signs_that_a_renderer_leaves_out_are_refused_in_names(sign: str) -> None:
    with pytest.raises(ValueError, match=rf"U\+{ord(sign):04X}"):
        check_name(f"张伟{sign}", "approver")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ann\u200b", r"the invisible character U\+200B"),
        ("\u202eann", r"the invisible character U\+202E"),
        ("ann\n", r"the invisible character U\+000A"),
        ("ann\u3164", r"the invisible character U\+3164"),
        ("\u0430nn", "letters of Cyrillic and Latin"),
        ("Ann \u041b\u0438", "letters of Cyrillic and Latin"),
        ("Wang L\u03b9", "letters of Greek and Latin"),
        ("", "expected a name"),
        (" ", "expected a name"),
        (7, "expected a name"),
        ("a" * 201, "at most 200 characters"),
    ],
)
def test_names_that_only_seem_to_be_another_are_refused(tmp_path: Path, name: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_name(name, "author")
    if isinstance(name, str):
        with pytest.raises(ValueError, match=says):
            submit(tmp_path, [(EntryKind.AUDIT, {})], origin="o", author=name)


def test_the_inbox_refuses_such_an_author_whoever_wrote_the_file(tmp_path: Path) -> None:
    path = submit(tmp_path, [(EntryKind.AUDIT, {})], origin="o", author="ann")
    path.write_bytes(path.read_bytes().replace(b'"ann"', b'"ann\\u200b"'))
    with open_journal(tmp_path / "journal") as journal:
        [verdict] = take_in(tmp_path, journal)
    assert (verdict.accepted, verdict.line) == (False, 1)
    assert "invisible character U+200B" in verdict.reason
