"""What somebody may do to the files of a journal, compressed or not, without touching what is in them."""

import random
from collections.abc import Callable
from pathlib import Path

# Gets the segments of a good journal; returns the first entry that suffers.
FileForger = Callable[[list[Path], random.Random], int]


def drop_a_segment(paths: list[Path], chance: random.Random) -> int:
    path = chance.choice(paths[:-1])
    path.unlink()
    return int(path.name[:20])


def exchange_segments(paths: list[Path], chance: random.Random) -> int:
    one, other = chance.sample(paths[:-1], 2) if len(paths) > 2 else paths
    first, second = one.read_bytes(), other.read_bytes()
    if one.suffix != other.suffix:
        one.unlink()
        return int(one.name[:20])
    one.write_bytes(second)
    other.write_bytes(first)
    return min(int(one.name[:20]), int(other.name[:20]))


def exchange_members(paths: list[Path], chance: random.Random) -> int:
    """Whole compressed members change places, within a segment."""
    path = next((path for path in paths if path.suffix == ".gz"), None)
    if path is None:
        return drop_a_segment(paths, chance)
    found = split_members(path.read_bytes())
    one, other = sorted(chance.sample(range(len(found)), 2))
    found[one], found[other] = found[other], found[one]
    path.write_bytes(b"".join(found))
    return int(path.name[:20]) + 5 * one


def repeat_a_member(paths: list[Path], chance: random.Random) -> int:
    path = next((path for path in paths if path.suffix == ".gz"), None)
    if path is None:
        return drop_a_segment(paths, chance)
    found = split_members(path.read_bytes())
    path.write_bytes(b"".join([*found, found[-1]]))
    return int(path.name[:20]) + 5 * (len(found) - 1) + 1


def cut_a_segment_short(paths: list[Path], chance: random.Random) -> int:
    path = chance.choice(paths[:-1])
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(1, len(data))])
    return int(path.name[:20])


def split_members(data: bytes) -> list[bytes]:
    """The members of a compressed segment, by the sizes in their extra fields."""
    found = []
    while data:
        size = int.from_bytes(data[16:20], "little")
        found.append(data[:size])
        data = data[size:]
    return found


FILE_FORGERS: list[FileForger] = [
    drop_a_segment,
    exchange_segments,
    exchange_members,
    repeat_a_member,
    cut_a_segment_short,
]
