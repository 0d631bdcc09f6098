"""Disks to break, where this machine can make them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.loop_disk import LoopDisk, why_no_loop_disk


@pytest.fixture(scope="session")
def loop_disks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Loop disks work here; skips with the reason where they do not."""
    missing = why_no_loop_disk(tmp_path_factory.mktemp("probe"))
    if missing:
        pytest.skip(missing)


@pytest.fixture
def make_disk(loop_disks: None, tmp_path: Path) -> Iterator[Callable[[str], LoopDisk]]:
    """Makes mounted loop disks by name; they are unmounted afterwards."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(LoopDisk(tmp_path / name))
