"""Files that are replaced in one step: the old one or all of the new one, and nothing beside it."""

import os
from pathlib import Path

import pytest

from gateway.journal.disk import replaced, replaced_text


def test_the_old_file_stands_until_the_block_ends_and_its_mode_is_the_one_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_bytes(b"old")
    with replaced(path, mode=0o600) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_raises_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replaced(path) as file:
        file.write(b"half of the n")
        raise ZeroDivisionError
    with pytest.raises(UnicodeEncodeError), replaced_text(path) as text:
        text.write("half of the n")
        text.write("\ud800")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_through_a_link_that_lies_at_the_name_of_the_part(tmp_path: Path) -> None:
    path, aim = tmp_path / "report", tmp_path / "elsewhere"
    aim.write_bytes(b"not ours")
    (tmp_path / ".report.partial").symlink_to(aim)
    with replaced(path) as file:
        file.write(b"new")
    assert (path.read_bytes(), path.is_symlink(), aim.read_bytes()) == (b"new", False, b"not ours")


def test_text_keeps_its_line_ends_and_its_mark(tmp_path: Path) -> None:
    with replaced_text(tmp_path / "a.csv", encoding="utf-8-sig") as text:
        text.write("窑\r\n")
        text.write("x\n")
    assert (tmp_path / "a.csv").read_bytes() == b"\xef\xbb\xbf" + "窑\r\nx\n".encode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report"
    path.write_bytes(b"old")
    monkeypatch.setattr("gateway.journal.disk._create", lambda *_: os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(OSError, match="No space left"), replaced_text(path) as text:
        text.write("x" * 1_000_000)
    assert path.read_bytes() == b"old"
