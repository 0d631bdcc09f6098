"""Run by tests and killed by them: journals readings without pause while the sinks of a site are drained."""

import asyncio
import sys
from pathlib import Path

from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.readings import Reading
from gateway.journal.entries import EntryKind, readings_body
from gateway.journal.writer import Journal
from gateway.sinks.opening import drain_site
from gateway.stores.embedded import EmbeddedStore

START = 1_767_225_600_000_000
SERIES = ("steel/main/active_energy_import", "glass/kiln/active_energy_import", "steel/main/active_power")


def batch(number: int) -> list[Reading]:
    """The readings of batch `number`, eight hours after those of the one before: files of many days are touched."""
    at = START + number * 8 * 3_600_000_000
    return [
        Reading(name, at + index * 1_000_000, float(number) if name.endswith("power") else number * 10 + index)
        for index in range(5)
        for name in SERIES
    ]


async def main(site_file: Path) -> None:
    site, clock = load_site(site_file), SystemClock()
    journal = Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=clock)
    with EmbeddedStore.open(site.data_dir / "readings.db") as store:
        draining = asyncio.create_task(drain_site(site, journal, store, clock, pace_s=0))
        print("begun", flush=True)
        while not draining.done():
            number = journal.durable_sequence
            await journal.append(EntryKind.READINGS, readings_body("bus", batch(number)))
            print(number, flush=True)
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
