"""Totals that a meter does not renew at once: read twice, so that old and new words are never taken for one value.

A word that is older than its neighbour makes the total wrong by at least one step of that neighbour: 65,536 for
an integer of two words. In the moment between two looks a total moves by far less. So two looks agree when the
second is not below the first and less than half such a step above it; otherwise a third look decides.
"""

from collectors.polled_blocks import PolledBlock, PolledRegister
from collectors.polling import PolledDevice, ask, readings_of
from collectors.register_line import RegisterLine
from gateway.clocks import Clock
from gateway.domain.readings import Quality, Reading

TORN = "torn"


async def whole_totals(
    device: PolledDevice, readings: list[Reading], wire: RegisterLine, clock: Clock, timeout_s: float
) -> list[Reading]:
    """The readings, each total whose profile says `reread` confirmed by a second look, or taken from a later one.

    A total on which no two looks in a row agree is SUSPECT (`torn`), as it was read first. Where the further looks
    bring no answer, it is so too.
    """
    sound = {reading.series: reading for reading in readings if reading.value is not None}
    taken: dict[str, Reading] = {}
    for polled in device.blocks:
        open_ones = [one for one in polled.registers if one.reread and one.series in sound]
        before = sound
        for _ in range(2):
            if not open_ones:
                break
            later = await _again(device, polled, wire, clock, timeout_s)
            for one in list(open_ones):
                if one.series in later and _agree(one, before[one.series], later[one.series]):
                    taken[one.series] = before[one.series]
                    open_ones.remove(one)
            before = before | later
        for one in open_ones:
            taken[one.series] = sound[one.series]._replace(quality=Quality.SUSPECT, reason=TORN)
    return [taken.get(reading.series, reading) for reading in readings]


async def _again(
    device: PolledDevice, polled: PolledBlock, wire: RegisterLine, clock: Clock, timeout_s: float
) -> dict[str, Reading]:
    answer = await ask(wire, device, polled, clock, timeout_s)
    return {reading.series: reading for reading in readings_of(answer) if reading.value is not None}


def _agree(one: PolledRegister, first: Reading, second: Reading) -> bool:
    tear, resolution = one.encoding.tear, one.register.resolution
    if first.value is None or second.value is None or not tear or not resolution:
        return False
    return 0 <= second.value - first.value < tear / resolution / 2
