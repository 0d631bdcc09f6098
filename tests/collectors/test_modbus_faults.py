"""Ten thousand replies spoiled between meter and collector: not one value is booked to another register.

Every word of every device is unlike every other, so that an answer given to the wrong question is seen at once.
"""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack

from collectors.modbus_tcp import ModbusTcpLine
from gateway.clocks import SystemClock
from gateway.errors import LineError
from simulators import faults
from simulators.modbus_server import ModbusServer
from tests.collectors.modbus_peer import block

LINES, FAULTS = 20, 500  # a line; 10,000 in all
TIMEOUT_S = 0.015
DEVICES, ADDRESSES, WORDS = 2, 512, 2  # few devices: the address of the device alone finds little out


class Distinct:
    """A device whose word at an address is one of its own: no two words of the bench are alike."""

    def __init__(self, address: int) -> None:
        self._first = address * ADDRESSES

    def read(self, table: str, address: int, count: int, instant: int) -> bytes | None:
        return truth(self._first + address, count)


def truth(first: int, count: int) -> bytes:
    return b"".join((first + n).to_bytes(2, "big") for n in range(count))


def spoiled(seed: int) -> list[faults.Fault]:
    """The faults that one line meets, in the order in which its seed draws them."""
    draw = random.Random(seed)
    kinds = {
        lambda: faults.LateReply(TIMEOUT_S * draw.uniform(0.5, 2)): 4,
        faults.Drop: 1,
        faults.SwapWithNext: 3,
        faults.Twice: 2,
        lambda: faults.CutAt(draw.randrange(13)): 3,
        lambda: faults.Trickle(draw.randrange(1, 6)): 3,
        faults.Reset: 1,
        faults.HalfClose: 1,
    }
    if seed % 2:  # the other half of the lines shows that their numbers can be trusted: connections are kept
        kinds |= {
            lambda: faults.ConstantTransaction(draw.randrange(4)): 5,
            lambda: faults.ShiftedTransaction(draw.choice((-2, -1, 1, 2))): 5,
        }
    return [draw.choices(list(kinds), kinds.values())[0]() for _ in range(FAULTS)]


async def ask(line: ModbusTcpLine, proxy: faults.FaultProxy, seed: int, told: Counter[str]) -> None:
    """Questions of one size to one register after the other, until every fault was met."""
    draw = random.Random(1000 + seed)
    while len(proxy.met) < FAULTS:
        device, address = draw.randrange(1, DEVICES + 1), draw.randrange(ADDRESSES - WORDS)
        try:
            words = await line.read(device, block(address, WORDS), TIMEOUT_S)
        except LineError as error:
            told[error.reason] += 1
            continue
        right = words == truth(device * ADDRESSES + address, WORDS)
        told["right" if right else "wrong"] += 1


async def test_of_ten_thousand_spoiled_replies_none_is_booked_to_another_register():
    devices = {address: Distinct(address) for address in range(1, DEVICES + 1)}
    told: Counter[str] = Counter()
    met: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ModbusServer(devices, clock=SystemClock()))
        pairs = []
        for seed in range(LINES):
            between = faults.FaultProxy("127.0.0.1", server.port, spoiled(seed))
            proxy = await stack.enter_async_context(between)
            pairs.append((ModbusTcpLine("127.0.0.1", proxy.port), proxy))
            stack.callback(pairs[-1][0].close)
        await asyncio.gather(*(ask(line, proxy, seed, told) for seed, (line, proxy) in enumerate(pairs)))
        for line, proxy in pairs:  # and when the trouble ends, it ends
            met.update(proxy.met)
            line.close()
            assert await line.read(1, block(5, 2), 5) == truth(ADDRESSES + 5, 2)
    assert told["wrong"] == 0, told
    assert met.total() - met["Pass"] >= LINES * FAULTS - LINES  # a reply on its way may be counted as the line stops
    assert len(met) >= 10
    assert told["right"] > 0
    assert sum(line.late for line, _ in pairs) > 0
