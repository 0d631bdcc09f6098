"""A second hand that writes signed journals from README.md alone: frames, checkpoints, rotation, compression, pruning.

Nothing of the product is used, so that the verifier is judged against the format and not against the writer.
"""

import gzip
import hashlib
import json
import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.journal.journals import MAGIC, START, build_frame, hash_of

Claim = dict[str, Any]


def private_key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"key {seed}".encode()).digest())


def public_of(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def id_of(key: Ed25519PrivateKey) -> str:
    return hashlib.sha256(public_of(key)).hexdigest()[:16]


def as_bytes(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def payload_of(kind: str, body: Claim, at: int) -> bytes:
    return as_bytes({"at": at, "body": body, "boot": "boot-1", "kind": kind, "monotonic_ns": at * 1000})


def read(frame: bytes) -> Claim:
    return dict(json.loads(frame[48:]))


def signed_claim(key: Ed25519PrivateKey, gateway: str, sequence: int, digest: bytes, at: int) -> Claim:
    text = f"emg checkpoint 1\n{gateway}\n{sequence}\n{digest.hex()}\n{at}\n".encode()
    body = {"gateway": gateway, "hash": digest.hex(), "key": id_of(key), "sequence": sequence}
    return {**body, "signature": key.sign(text).hex()}


def permit_signature(key: Ed25519PrivateKey, gateway: str, number: int, body: Claim) -> str:
    """Of an event of pruning, retirement or salvage."""
    return key.sign(f"emg permit 1\n{gateway}\n{number}\n".encode() + as_bytes(body) + b"\n").hex()


class Hand:
    """Writes one journal, entry after entry; `witness` keeps what each checkpoint said."""

    def __init__(self, seed: int, gateway: str = "gw-test") -> None:
        self.gateway, self.key, self.chance = gateway, private_key(seed), random.Random(seed)
        self.frames: list[bytes] = []
        self.witness: list[Claim] = []
        self.at = START
        self.write("event", {"event": "journal_created", "format": 1, "gateway": gateway})
        self.write("event", {"event": "key_created", "public": public_of(self.key).hex(), "key": id_of(self.key)})

    @property
    def head(self) -> bytes:
        return hash_of(self.frames[-1]) if self.frames else bytes(32)

    def write(self, kind: str, body: Claim) -> int:
        self.at += self.chance.randrange(1, 2_000_000)
        self.frames.append(build_frame(len(self.frames) + 1, self.head, payload_of(kind, body, self.at)))
        return len(self.frames)

    def readings(self, count: int) -> int:
        series = [f"works/point-{n}/active_energy_import" for n in range(self.chance.randrange(1, 4))]
        body: Claim = {
            "line": "bus-1",
            "series": series,
            "of": [n % len(series) for n in range(max(count, len(series)))],
        }
        size = len(body["of"])
        body["instant"] = [self.at + n for n in range(size)]
        body["value"] = [self.chance.choice([n, n / 3, -n, None, 1e-7 * n]) for n in range(size)]
        body["quality"] = [16 if value is None else 1 for value in body["value"]]
        if self.chance.random() < 0.3:
            body["words"] = [f"{n:04x}" for n in range(size)]
        return self.write("readings", body)

    def gap(self) -> int:
        slots = self.chance.randrange(1, 9)
        body = {"first": self.at, "last": self.at + (slots - 1) * 1_000_000, "period_us": 1_000_000, "slots": slots}
        return self.write("gap", {**body, "line": "bus-1", "reason": "line.silent", "series": ["works/p/volume"]})

    def checkpoint(self) -> int:
        at = self.at + 1
        body = signed_claim(self.key, self.gateway, len(self.frames), self.head, at)
        self.witness.append({**body, "at": at})
        self.at = at
        self.frames.append(build_frame(len(self.frames) + 1, self.head, payload_of("checkpoint", body, at)))
        return len(self.frames)

    def rotate(self, seed: int, *, lost: bool = False) -> int:
        new, old = private_key(seed), self.key
        text = f"emg key 1\n{self.gateway}\n{id_of(old)}\n{public_of(new).hex()}\n".encode()
        body: Claim = {"event": "key_rotated", "public": public_of(new).hex(), "key": id_of(new), "before": id_of(old)}
        body |= {"lost": True} if lost else {"signature": old.sign(text).hex()}
        self.key = new
        return self.write("event", body)

    def permit(self, body: Claim, *, at_number: int | None = None) -> int:
        """An event that says what may be absent, signed for its place, or for another one."""
        number = len(self.frames) + 1 if at_number is None else at_number
        return self.write("event", {**body, "signature": permit_signature(self.key, self.gateway, number, body)})

    def some(self, count: int) -> None:
        """Entries of all kinds, a checkpoint now and then."""
        for _ in range(count):
            lot = self.chance.random()
            if lot < 0.6:
                self.readings(self.chance.randrange(1, 5))
            elif lot < 0.7:
                self.gap()
            elif lot < 0.85:
                self.write("event", {"event": "tick", "number": self.chance.randrange(1000)})
            else:
                self.checkpoint()

    def prune(self, sequences: Sequence[int]) -> None:
        """Announce, then take the payloads of these entries away; a checkpoint makes the announcement count."""
        self.pruned = {n: pruned(self.frames[n - 1]) for n in sequences}
        digest = hashlib.sha256(b"".join(self.pruned[n][8:] for n in sequences)).hexdigest()
        ranges = [[n, n] for n in sequences]
        self.permit({"event": "payloads_pruned", "ranges": ranges, "entries": len(ranges), "digest": digest})
        self.checkpoint()


def pruned(frame: bytes) -> bytes:
    """The frame of a readings entry whose payload has left."""
    value = read(frame)
    digest = hashlib.sha256(frame[48:]).hexdigest()
    value |= {"kind": "pruned", "body": {"payload": digest, "readings": len(value["body"].get("of", []))}}
    return build_frame(int.from_bytes(frame[8:16], "big"), frame[16:48], as_bytes(value))


def member(block: bytes, first: int) -> bytes:
    """One gzip member with the extra field EG."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = packer.compress(block) + packer.flush()
    tail = struct.pack("<II", zlib.crc32(block), len(block))
    size = 12 + 16 + len(data) + len(tail)  # header, extra field, contents, checksum and length
    extra = struct.pack("<H2sHIQ", 16, b"EG", 12, size, first)
    return b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + extra + data + tail


def members(frames: Sequence[bytes], per: int) -> list[bytes]:
    """A compressed segment, `per` frames in each member."""
    found = []
    for at in range(0, len(frames), per):
        block = b"".join(frames[at : at + per])
        found.append(member(MAGIC * (at == 0) + block, int.from_bytes(frames[at][8:16], "big")))
    assert gzip.decompress(b"".join(found)) == MAGIC + b"".join(frames)
    return found


def save(frames: Sequence[bytes], directory: Path, *, per_segment: int = 20, compressed: bool = False) -> list[Path]:
    """Write segments of so many frames; all but the newest compressed, where asked for. Their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for at in range(0, len(frames), per_segment):
        some = frames[at : at + per_segment]
        first = max(int.from_bytes(some[0][8:16], "big"), int.from_bytes(frames[0][8:16], "big") + at)
        path = directory / f"{first:020d}.journal"
        if compressed and at + per_segment < len(frames):
            path = path.with_name(path.name + ".gz")
            path.write_bytes(b"".join(members(some, 5)))
        else:
            path.write_bytes(MAGIC + b"".join(some))
        paths.append(path)
    return paths


def save_witness(claims: Sequence[Claim], path: Path) -> Path:
    path.write_bytes(b"".join(as_bytes(claim) + b"\n" for claim in claims))
    return path
