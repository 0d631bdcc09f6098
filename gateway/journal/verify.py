"""Checks a journal from its bytes alone: run this file with any Python 3.11, on a copy, anywhere.

    python verify.py DIR [--json]

DIR is the journal's folder, the data folder that holds it, or a site file. Nothing of the product is
imported: the format is README.md's, read a second time. Exit code 0 verified, 1 does not verify, 2 could not run.
"""

import argparse
import hashlib
import json
import re
import struct
import sys
import tomllib
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MAGIC = b"emg-journal 1\n"
HEADER = struct.Struct(">IIQ32s")  # payload length, crc32 of all that follows it, sequence, hash of the entry before
LARGEST = 16 * 1024 * 1024
NAME = re.compile(r"([0-9]{20})\.journal")
BEGIN = b'{"at":'
KEYS = {"at": int, "body": dict, "boot": str, "kind": str, "monotonic_ns": int}
KINDS = ("readings", "gap", "event", "correction", "audit", "checkpoint")


class CouldNotRunError(Exception):
    """There is nothing here to verify, or it cannot be read."""


class BadEntryError(Exception):
    """The first thing that does not verify: what is wrong, and at which byte of the segment."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset


@dataclass(kw_only=True)
class Report:
    """What was found. Times [us, UTC] are those at which entries were handed to the journal; None without entries."""

    ok: bool = True
    directory: str = ""
    segments: int = 0
    entries: int = 0
    readings: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    first_sequence: int = 0
    last_sequence: int = 0
    first_at: int | None = None
    last_at: int | None = None
    head_hash: str = bytes(32).hex()
    torn_bytes: int = 0
    note: str = ""
    problem: dict[str, Any] | None = None

    def as_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(vars(self), ensure_ascii=False, sort_keys=True)

    def as_text(self) -> str:
        """The report for people."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.by_kind.items())) or "none"
        lines = [
            f"journal   {self.directory}",
            f"segments  {self.segments}",
            f"entries   {self.entries} ({kinds})",
            f"readings  {self.readings}",
            f"sequence  {self.first_sequence} to {self.last_sequence}",
            f"written   {_time(self.first_at)} to {_time(self.last_at)}",
            f"head      {self.head_hash}",
        ]
        if self.note:
            lines.append(f"note      {self.note}")
        if self.problem is None:
            return "\n".join([*lines, "VERIFIED: checksums, sequence numbers and hash chain hold from entry 1 on"])
        where = "{file}, byte {offset}, entry {sequence}: {what}".format(**self.problem)
        return "\n".join([*lines, f"DOES NOT VERIFY: {where}"])


def verify_journal(directory: Path) -> Report:
    """Walk all segments in `directory` from entry 1 on, up to the first thing that does not verify.

    Raises CouldNotRunError when there is no journal or it cannot be read.
    """
    files = sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))
    if not files:
        raise CouldNotRunError(f"{directory}: holds no journal (no file named like 00000000000000000001.journal)")
    report = Report(directory=str(directory), segments=len(files))
    for path in files:
        try:
            _verify_segment(report, path, newest=path is files[-1])
        except BadEntryError as error:
            report.ok = False
            where = {"file": path.name, "offset": error.offset, "sequence": report.last_sequence + 1}
            report.problem = {**where, "what": str(error)}
            break
    return report


def _verify_segment(report: Report, path: Path, *, newest: bool) -> None:
    data = path.read_bytes()
    if data[: len(MAGIC)] != MAGIC:
        if newest and MAGIC.startswith(data.rstrip(b"\0")):
            _note_torn(report, path, len(data))
            return
        raise BadEntryError(0, f"the segment begins with {data[: len(MAGIC)]!r}; expected {MAGIC!r}")
    if int(path.stem) != report.last_sequence + 1:
        raise BadEntryError(
            0, f"the segment is named for entry {int(path.stem)}: entries are missing or files mixed up"
        )
    offset = len(MAGIC)
    for sequence, previous, payload in _frames(data):
        _verify_entry(report, offset, sequence, previous, payload)
        offset += HEADER.size + len(payload)
    rest = data[offset:]
    if rest:
        why = _damage(rest)
        if why or not newest:
            raise BadEntryError(offset, why or "an unfinished entry, and the journal goes on in another segment")
        _note_torn(report, path, len(rest))


def _frames(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(sequence, previous hash, payload) of each frame whose checksum fits, up to the first that does not."""
    offset = len(MAGIC)
    while (size := _whole_frame(data, offset)) > 0:
        _, _, sequence, previous = HEADER.unpack_from(data, offset)
        yield sequence, previous, data[offset + HEADER.size : offset + size]
        offset += size


def _whole_frame(data: bytes, offset: int) -> int:
    """The size [bytes] of the frame at `offset` if it is whole and its checksum fits, else 0."""
    if offset + HEADER.size > len(data):
        return 0
    length, crc, _, _ = HEADER.unpack_from(data, offset)
    end = offset + HEADER.size + length
    if not 0 < length <= LARGEST or end > len(data):
        return 0
    return HEADER.size + int(length) if zlib.crc32(memoryview(data)[offset + 8 : end]) == crc else 0


def _verify_entry(report: Report, offset: int, sequence: int, previous: bytes, payload: bytes) -> None:
    if sequence != report.last_sequence + 1:
        raise BadEntryError(offset, f"entry {sequence} lies where entry {report.last_sequence + 1} belongs")
    if previous.hex() != report.head_hash:
        raise BadEntryError(
            offset, f"it carries {previous.hex()} as the hash of the entry before; that entry has {report.head_hash}"
        )
    value = _read_payload(offset, payload)
    if not report.entries:
        report.first_sequence, report.first_at = sequence, value["at"]
    report.entries += 1
    report.by_kind[value["kind"]] += 1
    if value["kind"] == "readings":
        rows = value["body"].get("readings")
        if not isinstance(rows, list):
            raise BadEntryError(offset, "an entry of readings without a list of readings")
        report.readings += len(rows)
    report.last_sequence, report.last_at = sequence, value["at"]
    report.head_hash = hashlib.sha256(sequence.to_bytes(8, "big") + previous + payload).hexdigest()


def _read_payload(offset: int, payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
        again = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise BadEntryError(offset, f"the payload is not JSON: {error}") from error
    if again != payload:
        raise BadEntryError(offset, "the payload is not in canonical form: it was not written by a journal")
    if not isinstance(value, dict) or {key: type(part) for key, part in value.items()} != KEYS:
        raise BadEntryError(offset, f"the payload is not that of an entry: expected the keys {', '.join(KEYS)}")
    if value["kind"] not in KINDS:
        raise BadEntryError(offset, f"found kind {value['kind']!r}; expected one of {', '.join(KINDS)}")
    return value


def _damage(rest: bytes) -> str:
    """Why the bytes behind the last whole frame are damage; "" if they are an entry that was begun and not finished."""
    at = rest.find(BEGIN, HEADER.size + 1)
    while at >= 0:
        if _whole_frame(rest, at - HEADER.size):
            return "the entry is damaged; whole entries follow it"
        at = rest.find(BEGIN, at + 1)
    # A payload ends with a brace; a zero there is a block that the disk had reserved and not yet written.
    if len(rest) < HEADER.size or rest[-1] == 0:
        return ""
    length, crc, _, _ = HEADER.unpack_from(rest)
    if HEADER.size + length <= len(rest):
        return "the entry's checksum does not fit its bytes"
    return "the entry's length is damaged" if zlib.crc32(memoryview(rest)[8:]) == crc else ""


def _note_torn(report: Report, path: Path, size: int) -> None:
    report.torn_bytes = size
    report.note = (
        f"{path.name} ends with {size} bytes of an entry that was begun and never acknowledged; "
        f"the next start of the gateway cuts them off, keeps them beside it and tells so in an event"
    )


def _time(at: int | None) -> str:
    if at is None:
        return "never"
    seconds, micros = divmod(at, 1_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"
    except (ValueError, OverflowError, OSError):
        return f"{at} us"


def find_journal(path: Path) -> Path:
    """The journal's folder for what a person named: that folder, a data folder, or a site file.

    Raises CouldNotRunError when the path leads to none.
    """
    if path.is_file() and path.suffix == ".toml":
        try:
            told = tomllib.loads(path.read_text("utf-8"))["site"]["data_dir"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CouldNotRunError(f"{path}: names no [site] data_dir ({error!r})") from error
        path = path.parent / str(told)
    if (path / "journal").is_dir():
        return path / "journal"
    if path.is_dir():
        return path
    raise CouldNotRunError(f"{path}: no such folder")


def main(argv: list[str] | None = None) -> int:
    """Verify the journal named on the command line; print the report; the exit code."""
    parser = argparse.ArgumentParser(
        prog="emg verify" if __name__ != "__main__" else None,
        description="Check a journal: checksums, sequence numbers, hash chain, counts.",
    )
    parser.add_argument("directory", metavar="DIR", nargs="?", default=".", help="journal, data folder or site file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    try:
        chosen = parser.parse_args(argv)
    except SystemExit as ending:  # after --help, or a word that it does not know
        return int(ending.code or 0)
    try:
        report = verify_journal(find_journal(Path(chosen.directory)))
    except (CouldNotRunError, OSError) as error:
        if chosen.json:
            sys.stdout.write(json.dumps({"ok": False, "could_not_run": str(error)}, ensure_ascii=False) + "\n")
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write((report.as_json() if chosen.json else report.as_text()) + "\n")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
