"""What somebody may do who can write the disk, knows the journal's format, and lacks the private key.

Each forger gets a good journal and returns other frames, and the number of the first entry that is no longer as it was.
Not tried is what README.md says nobody can see: the entries behind the newest checkpoint.
"""

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.journal.journals import build_frame, hash_of
from tests.journal.signed_journals import (
    Claim,
    Hand,
    as_bytes,
    payload_of,
    permit_signature,
    private_key,
    pruned,
    public_of,
    read,
    signed_claim,
)


class Good(NamedTuple):
    """A journal as a gateway left it, its public key, what its witness kept, and another gateway's journal."""

    frames: list[bytes]
    public: bytes
    witness: list[Claim]
    signed: int  # entries that a checkpoint covers
    foreign: list[bytes]
    older: list[bytes]  # the same gateway again, gone on from a copy made before the newest checkpoint
    hand: Hand  # the gateway, which signs whatever lies at the end of its journal; no forger uses its key himself


Forger = Callable[[Good, random.Random], tuple[list[bytes], int]]


def good_journal(chance: random.Random) -> Good:
    seed = chance.randrange(1 << 40)
    hand, older, other = Hand(seed), Hand(seed), Hand(seed + 2)
    public, before = public_of(hand.key), chance.randrange(12, 40)
    hand.some(before)
    older.some(before)
    older.chance = random.Random(seed + 3)
    older.some(chance.randrange(1, 60))
    older.checkpoint()
    if chance.random() < 0.3:
        hand.checkpoint()
        hand.rotate(seed + 1)
    hand.some(chance.randrange(4, 20))
    hand.checkpoint()
    frames = list(hand.frames)
    if chance.random() < 0.3:
        readings = [n for n, frame in enumerate(frames, 1) if read(frame)["kind"] == "readings"]
        hand.prune(readings[: chance.randrange(1, 6)])
        frames = [hand.pruned.get(n, frame) for n, frame in enumerate(hand.frames, 1)]
    other.some(len(frames))
    return Good(frames, public, hand.witness, len(frames) - 1, other.frames, older.frames, hand)


def rebuilt(frame: bytes, payload: bytes, *, sequence: int | None = None, previous: bytes | None = None) -> bytes:
    """The frame with another payload and a checksum that fits it."""
    number = int.from_bytes(frame[8:16], "big") if sequence is None else sequence
    return build_frame(number, frame[16:48] if previous is None else previous, payload)


def rechained(frames: list[bytes], start: int, how: str) -> list[bytes]:
    """All from index `start` on chained and numbered anew, checkpoints stating what they now stand behind.

    `how`: their signatures stay as they were ("keep"), or are made with a key of the forger's ("forge").
    """
    done = frames[:start]
    for frame in frames[start:]:
        value, previous = read(frame), hash_of(done[-1]) if done else bytes(32)
        if value["kind"] == "checkpoint":
            body, claim = value["body"], {"hash": previous.hex(), "sequence": len(done)}
            forged = signed_claim(private_key(666), body["gateway"], len(done), previous, value["at"])
            value["body"] = {**body, **claim, "signature": forged["signature"] if how == "forge" else body["signature"]}
        done.append(rebuilt(frame, as_bytes(value), sequence=len(done) + 1, previous=previous))
    return done


def altered(frame: bytes, chance: random.Random) -> bytes:
    """Its payload with another value somewhere, still JSON."""
    value = read(frame)
    body, part = value["body"], chance.choice(["at", "boot", "body"])
    if value["kind"] == "checkpoint":  # the others are not signed by itself
        part = "body"
    if value["kind"] == "pruned":
        body["payload"] = chance.randbytes(32).hex()
    elif part == "at":
        value["at"] += chance.choice([-1, 1, 3600_000_000])
    elif part == "boot":
        value["boot"] += "x"
    elif value["kind"] == "readings":
        at = chance.randrange(len(body["value"]))
        body["value"][at] = (body["value"][at] or 0) + 1
    elif value["kind"] == "checkpoint":
        body["hash"] = chance.randbytes(32).hex()
    else:
        body["note"] = "x"
    return rebuilt(frame, as_bytes(value))


def some_index(good: Good, chance: random.Random) -> int:
    """Of an entry that a checkpoint covers, with one behind it."""
    return chance.randrange(1, good.signed - 1)


def edit_a_byte(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at = some_index(good, chance)
    frames, payload = list(good.frames), bytearray(good.frames[at][48:])
    where = chance.randrange(len(payload))
    payload[where] = (payload[where] + chance.randrange(1, 256)) % 256
    if read(frames[at])["kind"] == "pruned":
        payload = bytearray(frames[at][48:].replace(b'"payload":"', b'"payload":"0', 1))
    frames[at] = rebuilt(frames[at], bytes(payload))
    return frames, at + 1


def edit(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at = some_index(good, chance)
    frames = list(good.frames)
    frames[at] = altered(frames[at], chance)
    return frames, at + 1


def edit_and_chain_anew(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    frames, number = edit(good, chance)
    return rechained(frames, number, chance.choice(["keep", "forge"])), number


def delete(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at = some_index(good, chance)
    frames = [*good.frames[:at], *good.frames[at + chance.randrange(1, 3) :]]
    return (frames if chance.random() < 0.5 else rechained(frames, at, "forge")), at + 1


def insert(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at = some_index(good, chance)
    own = build_frame(at + 1, hash_of(good.frames[at - 1]), payload_of("event", {"event": "tick"}, 1))
    frames = [*good.frames[:at], own, *good.frames[at:]]
    return (frames if chance.random() < 0.5 else rechained(frames, at, "forge")), at + 1


def swap(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at = some_index(good, chance)
    frames = [*good.frames[:at], good.frames[at + 1], good.frames[at], *good.frames[at + 2 :]]
    return (frames if chance.random() < 0.5 else rechained(frames, at, "keep")), at + 1


def replay_another_gateway(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at = some_index(good, chance)
    count = chance.randrange(1, 4)
    frames = [*good.frames[:at], *good.foreign[at : at + count], *good.frames[at + count :]]
    return (frames if chance.random() < 0.5 else rechained(frames, at, "keep")), at + 1


def replay_an_older_entry(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at = some_index(good, chance)
    frames = [*good.frames[:at], good.frames[chance.randrange(at)], *good.frames[at + 1 :]]
    return (frames if chance.random() < 0.5 else rechained(frames, at, "forge")), at + 1


def sign_with_another_key(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """The whole journal written anew under a key of the forger's, its id and the event that names it included."""
    key, frames = private_key(667), list(good.frames)
    hand = Hand(667)
    for frame in frames[2:]:
        value = read(frame)
        if value["kind"] == "checkpoint":
            hand.checkpoint()
        elif value["body"].get("event") not in {"key_rotated", "payloads_pruned"} and value["kind"] != "pruned":
            hand.write(value["kind"], {**value["body"], "line": "bus-2"})
    assert public_of(key) != good.public
    return hand.frames, 1


def serialise_anew(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at = some_index(good, chance)
    while read(good.frames[at])["kind"] == "pruned":  # its payload has no hash of its own
        at = some_index(good, chance)
    frames = list(good.frames)
    frames[at] = rebuilt(frames[at], json.dumps(read(frames[at])).encode())
    return (frames if chance.random() < 0.5 else rechained(frames, at + 1, "keep")), at + 1


def forge_pruning(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """A reading that disturbs somebody leaves; half of the forgers announce it at the end of the journal."""
    numbers = [n for n, f in enumerate(good.frames[: good.signed], 1) if read(f)["kind"] in {"readings", "event"}]
    at = chance.choice(numbers[2:]) - 1
    frames = list(good.frames)
    digest = hash_of(frames[at])
    frames[at] = pruned(frames[at])
    if chance.random() < 0.5:
        named = hashlib.sha256(digest).hexdigest()
        body = {"event": "payloads_pruned", "ranges": [[at + 1, at + 1]], "entries": 1, "digest": named}
        frames.append(build_frame(len(frames) + 1, hash_of(frames[-1]), payload_of("event", body, 1)))
    return frames, at + 1


def forge_a_salvage(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """Entries go missing, and an event at the end of the journal says that damage took them."""
    at, count = some_index(good, chance), chance.randrange(1, 4)
    body = {"event": "salvaged", "lost": [[at + 1, at + count]], "frames": 1, "damaged": []}
    last = build_frame(len(good.frames) + 1, hash_of(good.frames[-1]), payload_of("event", body, 1))
    return [*good.frames[:at], *good.frames[at + count :], last], at + 1


def forge_a_rotation(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """Behind the newest checkpoint a new key takes over, without the old one's signature; then all is signed well."""
    key, last = private_key(668), read(good.frames[-1])
    before = last["body"]["key"]
    body: dict[str, Any] = {"event": "key_rotated", "before": before, "public": public_of(key).hex()}
    body |= {"key": signed_claim(key, "gw-test", 1, bytes(32), 1)["key"]}
    body |= chance.choice([{"signature": bytes(64).hex()}, {"lost": True}])
    number = len(good.frames) + 1
    frames = [*good.frames, build_frame(number, hash_of(good.frames[-1]), payload_of("event", body, last["at"]))]
    claim = signed_claim(key, "gw-test", number, hash_of(frames[-1]), last["at"])
    frames.append(build_frame(number + 1, hash_of(frames[-1]), payload_of("checkpoint", claim, last["at"])))
    return frames, number


def cut_the_tail(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    covered = good.witness[-1]["sequence"]
    at = chance.randrange(2, covered)
    return good.frames[:at], at + 1


def put_an_older_copy_back(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """The gateway goes on from it and signs other entries rightly; only a witness knows."""
    same = [mine == theirs for mine, theirs in zip(good.frames, good.older, strict=False)]
    return good.older, (same.index(False) if False in same else len(same)) + 1


def rewrite_before_a_pruned_entry(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """What a pruned entry states of itself stays true when the one before it is another."""
    found = [n for n, frame in enumerate(good.frames) if read(frame)["kind"] == "pruned"]
    if not found:
        return edit(good, chance)
    at = chance.choice(found)
    frames = list(good.frames)
    frames[at - 1] = altered(frames[at - 1], chance)
    frames[at] = rebuilt(frames[at], frames[at][48:], previous=hash_of(frames[at - 1]))
    return frames, at


def forge_a_count(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """More readings are said to have been pruned than there were."""
    found = [n for n, frame in enumerate(good.frames) if read(frame)["kind"] == "pruned"]
    if not found:
        return edit(good, chance)
    at = chance.choice(found)
    value, frames = read(good.frames[at]), list(good.frames)
    value["body"]["readings"] += 1
    frames[at] = rebuilt(frames[at], as_bytes(value))
    return frames, at + 1


def forge_a_retirement(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """The oldest entries go missing, and an event at the end of the journal says that they left by age."""
    at = chance.randrange(2, good.signed - 1)
    body = {"event": "segments_retired", "last": at, "hash": hash_of(good.frames[at - 1]).hex()}
    body |= {"key": read(good.frames[1])["body"]["key"], "public": good.public.hex()}
    last = build_frame(len(good.frames) + 1, hash_of(good.frames[-1]), payload_of("event", body, 1))
    return [*good.frames[at:], last], 1


def gone_on(good: Good, frames: list[bytes]) -> list[bytes]:
    """The gateway starts again on what it finds, and signs a checkpoint behind it."""
    number, at, frames = int.from_bytes(frames[-1][8:16], "big"), good.hand.at + 10, list(frames)
    frames.append(build_frame(number + 1, hash_of(frames[-1]), payload_of("event", {"event": "tick"}, at)))
    claim = signed_claim(good.hand.key, good.hand.gateway, number + 1, hash_of(frames[-1]), at)
    return [*frames, build_frame(number + 2, hash_of(frames[-1]), payload_of("checkpoint", claim, at))]


def announced(good: Good, body: Claim, chance: random.Random) -> bytes:
    """An event at the end of the good journal: without a signature, with an older one's, or with a forger's own."""
    number, last = len(good.frames) + 1, good.frames[-1]
    own = permit_signature(private_key(669), good.hand.gateway, number, body)
    another = [value["signature"] for value in (read(frame)["body"] for frame in good.frames) if "signature" in value]
    body = {**body, **chance.choice([{}, {"signature": own}, {"signature": another[-1]}])}
    return build_frame(number, hash_of(last), payload_of("event", body, good.hand.at + 1))


def retire_and_let_sign(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at = chance.randrange(2, good.signed - 1)
    body: Claim = {"event": "segments_retired", "last": at, "hash": hash_of(good.frames[at - 1]).hex()}
    body |= {"key": read(good.frames[1])["body"]["key"], "public": good.public.hex()}
    return gone_on(good, [*good.frames[at:], announced(good, body, chance)]), 1


def prune_and_let_sign(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """An entry of readings gives up its payload; the event names it with the digest that it should have."""
    numbers = [n for n, frame in enumerate(good.frames[: good.signed]) if read(frame)["kind"] == "readings"]
    at, frames = chance.choice(numbers), list(good.frames)
    frames[at] = pruned(frames[at])
    digest = hashlib.sha256(frames[at][8:]).hexdigest()
    body = {"event": "payloads_pruned", "ranges": [[at + 1, at + 1]], "entries": 1, "digest": digest}
    return gone_on(good, [*frames, announced(good, body, chance)]), at + 1


def salvage_and_let_sign(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    at, count = some_index(good, chance), chance.randrange(1, 4)
    body = {"event": "salvaged", "lost": [[at + 1, min(at + count, good.signed)]], "frames": 1, "damaged": []}
    kept = [*good.frames[:at], *good.frames[min(at + count, good.signed) :]]
    return gone_on(good, [*kept, announced(good, body, chance)]), at + 1


def permit_the_future(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """An event permits what is not yet written; once the gateway has written it, it is altered or gone."""
    number = len(good.frames) + 1
    named: Claim = {"ranges": [[1, 10**9]], "entries": 1, "digest": hashlib.sha256().hexdigest()}
    lost: Claim = {"lost": [[number, number + 1]], "frames": 1, "damaged": []}
    body = chance.choice([{"event": "payloads_pruned", **named}, {"event": "salvaged", **lost}])
    *frames, event, last, checkpoint = gone_on(good, [*good.frames, announced(good, body, chance)])
    if body["event"] == "salvaged":
        return [*frames, event, checkpoint], number
    return [*frames, event, rebuilt(last, last[48:].replace(b"tick", b"tock")), checkpoint], number


def own_key_in_between(good: Good, chance: random.Random) -> tuple[list[bytes], int]:
    """A key of the forger's is in force for one event, which he signs rightly; then the gateway's takes over again."""
    key, hand, cut = private_key(670), Hand(1), chance.randrange(2, good.signed - 1)
    hand.frames, hand.key, hand.at = list(good.frames), good.hand.key, good.hand.at
    before, own = signed_claim(hand.key, "", 1, b"", 1)["key"], signed_claim(key, "", 1, b"", 1)["key"]
    body: Claim = {"event": "key_rotated", "before": before, "key": own, "public": public_of(key).hex(), "lost": True}
    hand.write("event", body)
    hand.key = key
    hand.permit({"event": "segments_retired", "last": cut, "hash": hash_of(good.frames[cut - 1]).hex()})
    back = public_of(good.hand.key).hex()
    text = f"emg key 1\n{hand.gateway}\n{own}\n{back}\n".encode()
    rotated = {"event": "key_rotated", "before": own, "key": before, "public": back, "signature": key.sign(text).hex()}
    hand.write("event", rotated)
    return gone_on(good, hand.frames[cut:]), 1


FORGERS: list[Forger] = [
    edit_a_byte,
    edit,
    edit_and_chain_anew,
    delete,
    insert,
    swap,
    replay_another_gateway,
    replay_an_older_entry,
    sign_with_another_key,
    serialise_anew,
    forge_pruning,
    forge_a_salvage,
    forge_a_rotation,
    rewrite_before_a_pruned_entry,
    forge_a_count,
    forge_a_retirement,
    retire_and_let_sign,
    prune_and_let_sign,
    salvage_and_let_sign,
    permit_the_future,
    own_key_in_between,
    cut_the_tail,
    put_an_older_copy_back,
]
NEEDS_THE_WITNESS = {cut_the_tail, put_an_older_copy_back}
LET_THE_GATEWAY_SIGN = {
    retire_and_let_sign,
    prune_and_let_sign,
    salvage_and_let_sign,
    permit_the_future,
    own_key_in_between,
}
TOLD_BY_A_FORGED_EVENT = {forge_pruning, forge_a_salvage, forge_a_retirement, *LET_THE_GATEWAY_SIGN}
