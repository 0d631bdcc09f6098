"""The harness finds the mistakes it is there for: each is planted into a copy of the product, and is caught."""

import shutil
from pathlib import Path

import pytest

from tests.faults.planted import PLANTED, Planted, found, plant
from tests.faults.pushing import ROOT

pytestmark = [
    pytest.mark.servers,
    pytest.mark.usefixtures("loop_disks"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace (Debian package) is not installed"),
]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_planted_mistake_is_found(tmp_path: Path, planted: Planted) -> None:
    product = plant(planted, tmp_path / "product")
    said = next(found(planted.found_by, product, tmp_path), None)
    assert said is not None, "nothing was found"
    print(said)


@pytest.mark.parametrize("by", sorted({planted.found_by for planted in PLANTED}))
def test_the_product_itself_is_not_accused(tmp_path: Path, by: str) -> None:
    assert list(found(by, ROOT, tmp_path)) == []
