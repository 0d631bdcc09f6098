"""Words to values: 125 registers to 30 values by our plan and by pymodbus.

    python -m benchmarks.decoding [--answers N] [--rounds N] [--json]

The sides take turns in one process over the same random answers; the median of the rounds counts. It is checked first
that all sides give the same values. "To readings" is what polling does: the plan, and a reading with its own
words for each value; pymodbus is given the list of registers that its client makes of an answer.
"""

import argparse
import gc
import json
import random
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from statistics import median

from pymodbus.client.mixin import ModbusClientMixin

from benchmarks.journal import RESULTS, machine
from collectors.blocks import MAX_WORDS, Span, plan_blocks
from collectors.polled_blocks import PolledRegister, readings_in, serve
from gateway.domain.instruments import Register, RegisterKind
from gateway.encoding import ONE, Encoding

PEER = "pymodbus convert_from_registers"
_TYPES = ModbusClientMixin.DATATYPE
_POWER = Register(quantity="active_power", unit="W", kind=RegisterKind.INSTANTANEOUS)
_ENERGY = Register(
    quantity="active_energy_import", unit="Wh", kind=RegisterKind.CUMULATIVE, resolution=Decimal(1), modulus=2**63
)
# How many, as what, low or high word first, what pymodbus calls it, and how random ones are packed.
_VALUES = [
    *[("float32", "little", _TYPES.FLOAT32)] * 15,
    *[("u32", "big", _TYPES.UINT32)] * 8,
    *[("i64", "big", _TYPES.INT64)] * 4,
    *[("u16", "big", _TYPES.UINT16)] * 3,
]
_HOLE = 2  # words between every third value and the next


def _places() -> list[int]:
    """The first word of every value, with holes between some; the last value ends the answer."""
    lengths = [kind.value[1] + (_HOLE if index % 3 == 2 else 0) for index, (_, _, kind) in enumerate(_VALUES)]
    return [*[0, *accumulate(lengths)][:-2], MAX_WORDS - 1]


def _registers() -> list[PolledRegister]:
    found = []
    for at, (kind, order, peer) in zip(_places(), _VALUES, strict=True):
        span = Span("holding", at, peer.value[1])
        momentary = kind in {"float32", "u16"}
        encoding = Encoding(type=kind, word_order=order)
        found.append(PolledRegister(f"e/p/{at}", span, (span,), encoding, _POWER if momentary else _ENERGY, ONE))
    return found


def _answer(chance: random.Random) -> bytes:
    """One answer of 125 words with plausible values."""
    words = bytearray(2 * MAX_WORDS)
    for at, (kind, _, _) in zip(_places(), _VALUES, strict=True):
        if kind == "float32":
            high, low = struct.unpack(">HH", struct.pack(">f", chance.uniform(1, 500)))
            struct.pack_into(">HH", words, 2 * at, low, high)
        else:
            code = {"u32": ">I", "i64": ">q", "u16": ">H"}[kind]
            struct.pack_into(code, words, 2 * at, chance.randrange(2 ** (8 * struct.calcsize(code) - 1)))
    return bytes(words)


def _peer(registers: list[int]) -> list[object]:
    """As a program on pymodbus does it: from the list of registers that its client gives."""
    convert = ModbusClientMixin.convert_from_registers
    return [
        convert(registers[at : at + kind.value[1]], kind, word_order=order)  # type: ignore[arg-type]  # "big" or "little"
        for at, (_, order, kind) in zip(_PLACES, _VALUES, strict=True)
    ]


_PLACES = _places()


def sides() -> dict[str, Callable[[bytes, list[int]], list[object]]]:
    """Each way to the 30 values of one answer (its words, its registers), by name."""
    registers = _registers()
    (block,) = plan_blocks([register.span for register in registers], forbidden=())
    polled = serve(block, registers)
    return {
        "ours, one plan": lambda answer, _: polled.plan.decode(answer)[0],
        "ours, to readings": lambda answer, _: [reading.value for reading in readings_in(polled, answer, 0)],
        PEER: lambda _, registers: _peer(registers),
    }


def measure(answers: int, rounds: int) -> dict[str, object]:
    """All sides in turns: for each the median [us an answer] and the median of its ratios to pymodbus."""
    chance = random.Random(7)
    words = [_answer(chance) for _ in range(answers)]
    work = [(answer, list(struct.unpack(f">{MAX_WORDS}H", answer))) for answer in words]
    ways = sides()
    for answer, registers in work:
        found = [way(answer, registers) for way in ways.values()]
        if any(one != found[-1] for one in found):
            raise SystemExit("the sides do not give the same values")
    gc.freeze()
    seconds: dict[str, list[float]] = {}
    for number in range(-1, rounds):  # the first one warms up and is not counted
        for side, way in ways.items():
            begin = time.perf_counter()
            for answer, registers in work:
                way(answer, registers)
            took = time.perf_counter() - begin
            if number >= 0:
                seconds.setdefault(side, []).append(took)
    peer = seconds[PEER]
    return {
        "answers": answers,
        "rounds": rounds,
        "words": MAX_WORDS,
        "values": len(_VALUES),
        "sides": {
            side: {
                "us_per_answer": round(median(took) / answers * 1e6, 2),
                "to_pymodbus": round(median(p / s for p, s in zip(peer, took, strict=True)), 2),
            }
            for side, took in seconds.items()
        },
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__)
    parser.add_argument("--answers", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="also write benchmarks/results/decoding-<date>.json")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    now = datetime.now(UTC)
    found = {"measured": f"{now:%Y-%m-%dT%H:%M:%SZ}", "machine": machine(), **measure(chosen.answers, chosen.rounds)}
    print(f"{found['measured']}  {found['machine']}")
    for side, told in found["sides"].items():
        print(f"  {side:34} {told['us_per_answer']:>8.2f} us an answer  {told['to_pymodbus']:>6.2f} x pymodbus")
    if chosen.json:
        chosen.results.mkdir(parents=True, exist_ok=True)
        path = chosen.results / f"decoding-{now:%Y-%m-%d}.json"
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
