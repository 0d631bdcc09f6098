"""`emg acquire` with a witness: it gets every checkpoint, and knows a journal that was put back from an older copy."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from collectors.acquire import acquire
from gateway.clocks import SystemClock
from gateway.config import load_site
from gateway.domain.sites import Site
from gateway.journal.witness import witness_state
from gateway.journal_files import verify_main as main
from tests.journal.witness_shop import open_shop

WITNESS = """
[journal]
checkpoint_every_s = 1

[witness]
kind = "https"
url = "http://127.0.0.1:{port}/"
"""


async def acquire_until(site: Site, reached: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(acquire(site, SystemClock(), stop))
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.02)
    stop.set()
    await running


async def test_the_witness_gets_every_checkpoint_and_knows_an_older_copy(
    tmp_path: Path, files_site: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    kept, site_file = tmp_path / "kept.jsonl", files_site()
    with open_shop(kept) as shop:
        with site_file.open("a") as file:
            file.write(WITNESS.format(port=shop.server_address[1]))
        site = load_site(site_file)
        await acquire_until(site, lambda: len(shop.asked) >= 2)
        first = len(kept.read_bytes().splitlines())
        assert first >= 3  # the last one is sent on the way out
        shutil.copytree(site.data_dir, tmp_path / "older")
        await acquire_until(site, lambda: len(shop.asked) > first)
    state = witness_state(site.data_dir)
    assert state is not None
    assert state.error == ""
    words = ["--witness", str(kept), "--key", str(site.data_dir / "keys" / "journal.pub")]
    assert main([str(site_file), *words]) == 0
    assert f"witnessed through {state.sent_sequence}\n" in capsys.readouterr().out
    assert main([str(tmp_path / "older"), *words[2:]]) == 0
    assert main([str(tmp_path / "older"), *words]) == 1
    assert "cut off, or an older copy" in capsys.readouterr().out.splitlines()[-1]


async def test_a_witness_that_is_not_there_keeps_nothing_from_the_journal(
    tmp_path: Path, files_site: Callable[..., Path]
) -> None:
    site_file = files_site()
    with site_file.open("a") as file:
        file.write(WITNESS.format(port=9))
    site = load_site(site_file)

    def both_told() -> bool:
        state = witness_state(site.data_dir)
        return state is not None and "did not take the checkpoint" in state.error

    await acquire_until(site, both_told)
    assert main([str(site_file)]) == 0
