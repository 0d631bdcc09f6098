"""Checks a journal from its bytes alone, on any Python 3.11: python verify.py DIR [--key PUB]... [--witness FILE].

Nothing of the product is imported: README.md's format is read a second time. Every entry binds all before it, so the
newest good signature of a key covers all that it signed: that one is checked, and all are only where it is bad.
"""

import argparse
import gzip
import hashlib
import json
import re
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MAGIC, LARGEST = b"emg-journal 1\n", 16 * 1024 * 1024
HEADER = struct.Struct(">IIQ32s")  # payload length, crc32 of all that follows it, sequence, hash of the entry before
NAME = re.compile(r"([0-9]{20})\.journal(\.gz)?")
KEYS = {"at": int, "body": dict, "boot": str, "kind": str, "monotonic_ns": int}
KINDS = ("readings", "gap", "event", "correction", "audit", "checkpoint", "pruned")
COLUMNS: dict[str, set[type]] = {"of": {int}, "instant": {int}, "value": {int, float, type(None)}}
COLUMNS |= {"quality": {int}, "reason": {str}, "words": {str}}
COUNTED = ["entries", "readings", "good", "pruned", "gap_slots", "first_sequence", "last_sequence", "first_at"]
COUNTED += ["last_at", "signed_through", "not_yet_signed", "witnessed_through", "torn_bytes"]
CLAIM = {"at": int, "gateway": str, "hash": str, "key": str, "sequence": int, "signature": str}
PERMITS = ("payloads_pruned", "segments_retired", "salvaged")
MEMBER = bytes.fromhex("1f8b080400000000 00ff100045470c00")  # how each part of a compressed segment begins
ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, EOFError, zlib.error)
# Ed25519, RFC 8032 - §5.1: the field, the order of the group, the curve's constant, a root of -1, the base point.
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, ROOT, BASE_Y = -121665 * pow(121666, -1, P) % P, pow(2, (P - 1) // 4, P), 4 * pow(5, -1, P) % P
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
Json = dict[str, Any]
Claims = Path | Sequence[Json]  # of a witness; a sequence of them in order of their entries


def _add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:  # X, Y, Z, T
    p, q = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    r, s = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    return (q - p) * (s - r) % P, (s + r) * (q + p) % P, (s - r) * (s + r) % P, (q - p) * (q + p) % P


def signature_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Ed25519, strictly: S below the order of the group, and only the one way to write a point."""
    scalar, code = int.from_bytes(signature[32:], "little"), int.from_bytes(public, "little")
    y, sign = code & ~(1 << 255), code >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * ROOT % P
    if (len(public), len(signature)) != (32, 64) or scalar >= ORDER or y >= P or x * x % P != square or x == 0 < sign:
        return False
    x = P - x if x % 2 == sign else x  # of the key's negative
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    none, base, minus = (0, 1, 1, 0), (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P), (x, y, 1, x * y % P)
    total, steps = _add(none, none), (none, base, minus, _add(base, minus))
    for bit in range(252, -1, -1):  # R = S * base point - challenge * public key
        total = _add(_add(total, total), steps[scalar >> bit & 1 | (challenge >> bit & 1) << 1])
    x, y = (part * pow(total[2], -1, P) % P for part in total[:2])
    return (y | x % 2 << 255).to_bytes(32, "little") == signature[:32]


class BadEntryError(ValueError):
    """What does not verify; behind it the number of the entry, where that is not the one which is looked at."""


def _demand(holds: object, what: str, *sequence: int) -> None:
    if not holds:
        raise BadEntryError(what, *sequence)


class Report(SimpleNamespace):
    """What was found; times in us, UTC. Pruned readings come on top; `signed_through` heeds the given keys, if any."""

    def as_text(self) -> str:
        times = {at: str(datetime.fromtimestamp(vars(self)[at] / 1e6, UTC)) for at in ("first_at", "last_at")}
        words = (vars(self) | times | {"problem": [], "ok": []}).items()
        told = [(name, one) for name, found in words for one in (found if type(found) is list else [found])]
        lines = [f"{name.replace('_', ' '):<18}{one if str(one).isprintable() else ascii(one)}" for name, one in told]
        by = "a given key" if self.key_given else "the key that the journal itself names" if self.keys else "no key"
        verdict = f"VERIFIED, {len(self.findings)} findings; signed by {by}"
        if self.problem:
            verdict = "DOES NOT VERIFY: {file}, byte {offset}, entry {sequence}: {what}".format(**self.problem)
        return "\n".join([*lines, verdict])


def _frames(path: Path) -> Iterator[tuple[int, int, bytes, bytes]]:
    """(offset, sequence, previous hash, payload) of whole frames; sequence 0 for the bytes behind them, if any."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        head, payload = file.read(len(MAGIC)), b""
        offset = len(MAGIC) * (head == MAGIC)
        while offset and (head := file.read(HEADER.size)):
            length, crc, sequence, previous = HEADER.unpack(head.ljust(HEADER.size, b"\0"))
            payload = file.read(length if length <= LARGEST else 0)
            if not 0 < length == len(payload) or zlib.crc32(payload, zlib.crc32(head[8:])) != crc:
                break
            yield offset, sequence, previous, payload
            offset += HEADER.size + length
        if rest := head + payload * bool(head) + file.read(2 * LARGEST):
            yield offset, 0, b"", rest


def _check_members(path: Path) -> None:
    """Of a compressed segment: every member begins and ends as its header says, and with the entry it names."""
    start, named, end = 0, 0, path.stat().st_size * (path.suffix == ".gz")
    with path.open("rb") as file:
        while start < end:
            head, at = file.read(4096), 8 + len(MAGIC) * (not start)
            named = int.from_bytes(zlib.decompressobj(31).decompress(head, at + 8)[at:]) or named
            right = head.startswith(MEMBER) and any(head[16:20]) and head[20:28] == named.to_bytes(8, "little")
            start = file.seek(start + int.from_bytes(head[16:20], "little"))
            _demand(right and start <= end, "its compressed part is not what its header says", named)


def _no_double(pairs: list[tuple[str, Any]]) -> Json:
    _demand(len(value := dict(pairs)) == len(pairs), "a key stands twice in an object")
    return value


def _read(payload: bytes) -> tuple[str, Json, int]:
    value = json.loads(payload.decode(), object_pairs_hook=_no_double, parse_constant=lambda word: float(f"{word}?"))
    if {k: type(v) for k, v in value.items()} != KEYS or value["kind"] not in KINDS or not 0 <= value["at"] < 2**57:
        raise ValueError(f"expected {', '.join(KEYS)}, the kind one of {', '.join(KINDS)}, the time since 1970")
    return value["kind"], value["body"], value["at"]


def _count(body: Json) -> tuple[int, int]:
    """(readings, those of quality GOOD) of a table by columns."""
    of, series, qualities = body["of"], body["series"], body.get("quality", [1] * len(body["of"]))
    for name in {"instant", "value"} | (COLUMNS.keys() & body.keys()):
        if not 0 < len(body[name]) == len(of) or not set(map(type, body[name])) <= COLUMNS[name]:
            raise ValueError(f"column {name} is not as long as the others, empty, or holds what it may not")
    sound = 0 <= min(body["instant"]) <= max(body["instant"]) < 2**57
    sound = sound and re.fullmatch("(([0-9a-f]{2})*,)*", ",".join([*body.get("words", ()), ""]))
    sound = sound and all(-(2**63) <= v < 2**63 for v in body["value"] if type(v) is int or abs(v or 0) == 1e999)
    sound = sound and not any(one is None and q & 1 for one, q in zip(body["value"], qualities, strict=True))
    named = 0 <= min(of) <= max(of) < len(set(series)) == len(series)
    right = sound and named and 0 < min(qualities) <= max(qualities) < 32
    _demand(right, "a series stands twice or is not there, or an instant, a value, words or a quality are none")
    return len(of), qualities.count(1)


def _by_id(keys: Iterable[bytes]) -> dict[str, bytes]:
    return {hashlib.sha256(public).hexdigest()[:16]: public for public in keys}


class _Walk:
    def __init__(self, directory: Path, keys: Sequence[bytes], witness: Claims, *, every: bool) -> None:
        files = [path.name for path in directory.iterdir() if path.is_file() and not path.is_symlink()]
        names = sorted(filter(NAME.fullmatch, files), reverse=True)
        _demand(names, f"{directory}: holds no journal (no file named like 00000000000000000001.journal)")
        self.paths = [directory / name for name in sorted({name[:20]: name for name in names}.values())]
        told = {"directory": str(directory), "gateway": "", "key_given": bool(keys), "segments": len(self.paths)}
        found: Json = {"head_hash": bytes(32).hex(), "keys": [], "notes": [], "findings": [], "problem": None}
        self.report = Report(**told, by_kind={}, **dict.fromkeys(COUNTED, 0), **found, ok=True)
        self.path, self.offset, self.head, self.every = self.paths[0], 0, bytes(32), every  # b"": nobody knows it
        self.open: list[list[int]] = []  # of the ranges that were pruned, those which hold the entry looked at
        self.given, self.since = _by_id(keys), 0  # `at` of the first entry that no checkpoint covers
        self.key, self.loose, self.holes = "", False, 0  # in force; whether the event that brought it may be missing
        self.anchored, self.broken = not keys, 1  # it is a given one or descends from one; or since when not
        self.newest: dict[tuple[int, str], Json] = {}  # of each key, the newest checkpoint between holes
        self.claims = read_witness(witness) if isinstance(witness, Path) else iter(witness)  # by sequence
        self.asked, self.claim = witness != (), next(self.claims, None)  # the next that the walk comes to
        self.unsettled: list[tuple[int, Json]] = []  # permits, until the next words of a key

    def run(self) -> None:
        """First learn what events tell has left before them, not verified: the walk then comes to each of them."""
        self.left: list[tuple[int, Json]] = []
        for path in self.paths:
            with suppress(OSError, *ODD):  # the walk will come to what is wrong with it
                for _, sequence, _, payload in _frames(path):
                    read = _read(payload) if sequence and b'"event":' in payload else ("", {}, 0)
                    self.left += [(sequence, read[1])] * (read[0] == "event" and read[1].get("event") in PERMITS)
        self.retired = {body["last"]: body["hash"] for _, body in self.left if "last" in body}
        self.lost = sorted(pair for _, body in self.left for pair in body.get("lost", ()))
        self.pruned = sorted(([*pair, at] for at, body in self.left for pair in body.get("ranges", ())), reverse=True)
        self.seen: dict[int, list[Any]] = {at: [0, 0, hashlib.sha256()] for at, _ in self.left}  # pruned, whole, digest
        self.known = _by_id(bytes.fromhex(body["public"]) for _, body in self.left if "public" in body) | self.given
        for path in self.paths:
            self.path, self.offset = path, 0
            self.jump(int(path.name[:20]))
            for self.offset, sequence, previous, payload in _frames(path):
                self.entry(sequence, previous, payload) if sequence else self.rest(payload)
            _check_members(path)
        self.finish()

    def rest(self, data: bytes) -> None:
        closed = self.path.suffix == ".gz" or self.path != self.paths[-1]
        strange = closed or (not self.offset and not MAGIC.startswith(data.rstrip(b"\0")))
        starts = (found.start() - HEADER.size for found in re.finditer(rb'{"at":', data))
        heads = ((start, *HEADER.unpack_from(data, start)[:2]) for start in starts if start > 0)
        follow = any(zlib.crc32(data[at + 8 : at + HEADER.size + length]) == crc for at, length, crc in heads)
        length, crc, _, _ = HEADER.unpack(data[: HEADER.size].ljust(HEADER.size, b"\0"))
        full = HEADER.size + length <= len(data) or zlib.crc32(data[8:]) == crc
        full = self.offset > 0 and len(data) >= HEADER.size and data[-1] > 0 and full  # a zero: reserved, not written
        _demand(not (strange or follow or full), f"damaged, or unfinished within the journal: {data[:14]!r}")
        self.report.torn_bytes = len(data)
        self.report.notes.append("the last entry was begun and never acknowledged; the next start cuts it off")

    def jump(self, sequence: int) -> None:
        """To this entry. Where some are missing before it, events behind it must say why."""
        report, last = self.report, self.report.last_sequence
        if not report.entries:
            last = max((end for end in self.retired if last < end < sequence), default=last)
            self.head, self.loose = bytes.fromhex(self.retired.get(last, self.head.hex())), last > 0
        end = last
        for first, to in self.lost:
            end = max(end, to) if first <= end + 1 else end
        _demand(last < sequence <= end + 1, f"entry {sequence} lies here; no event tells why some are missing", end + 1)
        if last < sequence - 1:
            unsigned = f"those from {report.signed_through + 1} to {last} are under no signature"
            report.findings.append(f"entries {last + 1} to {sequence - 1} were lost by damage; {unsigned}")
            self.head, self.loose, self.holes = b"", True, self.holes + 1
        report.last_sequence = sequence - 1

    def entry(self, sequence: int, previous: bytes, payload: bytes) -> None:
        report = self.report
        self.jump(sequence)
        _demand(self.head in (previous, b""), f"the entry before has hash {self.head.hex()}, not {previous.hex()}")
        kind, body, at = _read(payload)
        place, written = sequence.to_bytes(8, "big") + previous, hashlib.sha256(payload).digest()
        while self.pruned and self.pruned[-1][0] <= sequence:
            self.open.append(self.pruned.pop())
        self.open = [span for span in self.open if span[1] >= sequence]
        if kind == "pruned":
            _demand(self.open, "its payload has left, and no event payloads_pruned tells that")
            report.pruned, written = report.pruned + body["readings"], bytes.fromhex(body["payload"])
        for seen in (self.seen[event] for _, _, event in self.open):
            seen[kind != "pruned"] += 1
            seen[2].update((place + payload) * (kind == "pruned"))
        if kind == "readings":
            count, good = _count(body)
            report.readings, report.good = report.readings + count, report.good + good
        elif kind == "gap":
            first, last, slots = body["first"], body["last"], body["slots"]
            placed = type(first) is type(last) is type(slots) is int and (first <= last or "period_us" not in body)
            told = placed and slots > 0 <= min(first, last) and type(body["line"]) is type(body["reason"]) is str
            _demand(told, "a gap without a line, a reason, or slots between its instants")
            report.gap_slots += slots * len(body["series"])
        elif kind == "event":
            self.event(sequence, body["event"], body)
        report.first_sequence, report.first_at = report.first_sequence or sequence, report.first_at or at
        self.since = self.since or at
        if kind == "checkpoint":
            self.checkpoint({**body, "at": at}, sequence - 1, previous.hex())
        report.entries, report.by_kind[kind] = report.entries + 1, report.by_kind.get(kind, 0) + 1
        self.head = hashlib.sha256(place + written).digest()
        report.last_sequence, report.last_at, report.head_hash = sequence, at, self.head.hex()
        while (claim := self.claim) and claim["sequence"] <= sequence:
            self.claim, known = next(self.claims, None), claim["hash"] == report.head_hash
            if (claim["gateway"], claim["sequence"]) == (report.gateway, sequence):
                _demand(known or not self.genuine(claim), "the witness knows another: rewritten behind it", sequence)
                report.witnessed_through = sequence if known else report.witnessed_through

    def event(self, sequence: int, name: str, body: Json) -> None:
        _demand((name == "journal_created") == (sequence == 1), f"found {name!r}; entry 1 alone is journal_created")
        self.report.gateway = body["gateway"] if name == "journal_created" else self.report.gateway
        if name in {"key_created", "key_rotated"}:
            before, key, lost = body.get("before", ""), body["key"], body.get("lost") is True
            public, old = _by_id([bytes.fromhex(body["public"])]), self.known.get(before)
            follows = (before == self.key or self.loose) and key in public
            _demand(follows, f"key {key} is not its own, or does not follow key {self.key or '(none)'}")
            text = f"emg key 1\n{self.report.gateway}\n{before}\n{body['public']}\n"
            signed = not (before and old and not lost) or self.holds(before, text, body["signature"])
            _demand(signed, f"key {key} is not signed by {before}, the one before")
            self.report.findings += [f"entry {sequence}: key {before} was lost and has not signed the next"] * lost
            self.known |= public
            self.settle(before)
            self.take_key(sequence, key, descends=before == self.key and old is not None and not lost)
        elif name in PERMITS:  # what it permits lies before it, and nothing of what was pruned came back
            ranges, (pruned, whole, digest) = body.get("ranges", []), self.seen[sequence]
            named = [*ranges, *body.get("lost", []), [1, body.get("last", 1)]]
            _demand(all(0 < first <= last < sequence for first, last in named), "it permits what is not before it")
            lost = sum(last - first + 1 for first, last in ranges) > pruned  # then nobody knows their digest
            fits = not pruned or (not whole and (lost or digest.hexdigest() == body["digest"]))
            _demand(fits, "the pruned entries that it names are not those which lie before it")
            self.unsettled.append((sequence, body))

    def settle(self, key: str) -> None:
        """Where it is known which key was in force: it signed the permits, and descends from a given one, if any."""
        lapsed = bool(self.given) and key not in self.given and (key != self.key if self.anchored else self.broken > 1)
        while self.unsettled:
            sequence, body = self.unsettled.pop(0)
            name, signature = body["event"], body.pop("signature", "")
            told = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            text = f"emg permit 1\n{self.report.gateway}\n{sequence}\n{told}\n"
            unknown = not (key or self.key) or (key and not self.given and key not in self.known)
            self.report.findings += [f"entry {sequence}, {name}, is signed by no key that is known"] * bool(unknown)
            holds = unknown or (not lapsed and key in self.known and self.holds(key, text, signature))
            _demand(holds, f"{name} is not signed by key {key}, the one in force", sequence)

    def take_key(self, sequence: int, key: str, *, descends: bool) -> None:
        anchored = not self.given or key in self.given or (descends and self.anchored)
        self.broken = sequence if self.anchored and not anchored else self.broken
        self.key, self.loose, self.anchored = key, False, anchored
        self.report.keys.append({"key": key, "public": self.known.get(key, b"").hex(), "from": sequence})
        if key not in self.known:
            self.report.findings.append(f"nothing that is left names the public key {key}: give it with --key")

    def checkpoint(self, claim: Json, sequence: int, digest: str) -> None:
        if self.loose and claim["key"] != self.key:
            self.take_key(sequence + 1, claim["key"], descends=False)
        stated = {"gateway": self.report.gateway or claim["gateway"], "hash": digest, "key": self.key}
        stated |= {"sequence": sequence, "signature": str(claim["signature"])}
        _demand(stated.items() <= claim.items(), f"the checkpoint states {claim}; expected {stated}")
        _demand(not self.every or self.genuine(claim), "not signed: rewritten behind the last one that is")
        self.newest[self.holes, self.key], self.loose, self.report.gateway = claim, False, claim["gateway"]
        self.settle(self.key)
        if self.anchored:
            self.report.signed_through, self.since = sequence, 0

    def genuine(self, claim: Json) -> bool:
        """False if the key that it names has not signed it; a key that is not known contradicts nothing."""
        text = "emg checkpoint 1\n{gateway}\n{sequence}\n{hash}\n{at}\n".format(**claim)
        return claim["key"] not in self.known or self.holds(claim["key"], text, claim["signature"])

    def holds(self, key: str, text: str, signature: str) -> bool:
        form = re.fullmatch("[0-9a-f]{128}", signature)
        return signature_holds(self.known[key], text.encode(), bytes.fromhex(form[0] if form else ""))

    def finish(self) -> None:
        self.settle(self.key)
        report, sure = self.report, self.report.signed_through
        report.not_yet_signed = report.last_sequence - sure
        while claim := self.claim:
            mine, self.claim = claim["gateway"] == report.gateway and self.genuine(claim), next(self.claims, None)
            _demand(not mine, f"the witness has one of entry {claim['sequence']}: cut off, or an older copy")
        report.findings += ["the witness knows nothing of it"] * (self.asked and not report.witnessed_through)
        _demand(self.anchored, "from here on no key is in force that was given or descends from one", self.broken)
        if report.keys and (0 < self.since < report.last_at - 3_600_000_000 or (self.given and not sure)):
            report.findings.append(f"entries behind {sure} are not signed: all, or those of more than an hour")
        left = self.left if report.keys else []
        report.findings += [f"entry {at}, {body['event']}, is not yet signed" for at, body in left if at > sure]


def verify_journal(directory: Path, *, keys: Sequence[bytes] = (), witness: Claims = (), every: bool = False) -> Report:
    """Walk the chain up to the first thing that does not verify. Raises ValueError when there is no journal."""
    walk = _Walk(directory, keys, witness, every=every)
    try:
        walk.run()
    except (gzip.BadGzipFile, *ODD) as error:
        told = error.args if isinstance(error, BadEntryError) else [f"not as the format has it: {error!r}"]
        named = dict(zip(["what", "sequence"], [*told, walk.report.last_sequence + 1], strict=False))
        vars(walk.report).update(ok=False, problem={"file": walk.path.name, "offset": walk.offset, **named})
    if not every and not all(map(walk.genuine, walk.newest.values())):
        return verify_journal(directory, keys=keys, witness=witness, every=True)
    return walk.report


def read_witness(path: Path) -> Iterator[Json]:
    """The checkpoints that a witness kept, one a line, by sequence; only their places are held. Raises ValueError."""
    places = list[tuple[int, int]]()
    with path.open("rb") as file:
        while line := file.readline():
            claim = json.loads(line) if re.fullmatch(rb"\{.*\}\s*", line) else None
            if not isinstance(claim, dict) or {key: type(part) for key, part in claim.items()} != CLAIM:
                raise ValueError(f"{path}:{len(places) + 1}: no checkpoint; expected an object with {', '.join(CLAIM)}")
            places.append((claim["sequence"], file.tell() - len(line)))
        for _, place in sorted(places):
            file.seek(place)
            yield json.loads(file.readline())


def read_key(word: str) -> bytes:
    """A public key, 32 bytes, from its hex digits or the file that holds them. Raises OSError or ValueError."""
    text = Path(word).read_text("latin-1") if Path(word).is_file() else word
    right = re.fullmatch(r"\s*[0-9A-Fa-f]{64}\s*", text)
    _demand(right, f"--key {word}: expected 64 hex digits or journal.pub; found {text[:27]!r}")
    return bytes.fromhex(text)


def main(argv: list[str] | None = None) -> int:
    """Verify the journal named on the command line; print the report; the exit code."""
    parser = argparse.ArgumentParser(prog=None if __name__ == "__main__" else "emg verify")
    parser.add_argument("directory", type=Path, metavar="DIR", nargs="?", default=".", help="of the journal or data")
    parser.add_argument("--key", action="append", default=[], metavar="PUB", help="public key: hex, or its file")
    parser.add_argument("--witness", type=Path, metavar="FILE", help="checkpoints that it kept, one a line")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(argv)
    try:
        directory = chosen.directory / ("journal" if (chosen.directory / "journal").is_dir() else "")
        report = verify_journal(directory, keys=[*map(read_key, chosen.key)], witness=chosen.witness or ())
    except (AttributeError, OSError, ValueError) as error:
        if chosen.json:
            sys.stdout.write(json.dumps({"ok": False, "could_not_run": str(error)}, ensure_ascii=False) + "\n")
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write((json.dumps(vars(report)) if chosen.json else report.as_text()) + "\n")
    return 0 if report.ok and not report.findings else 1


if __name__ == "__main__":
    sys.exit(main())
