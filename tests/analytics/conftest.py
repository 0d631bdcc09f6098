"""The plant's fixture: real stores and a real ledger in a temporary folder."""

import pytest

from gateway.ledger.opening import open_ledger
from gateway.stores.opening import open_interval_store, open_reading_store
from tests.analytics.cement_plant import Plant, make_site


@pytest.fixture
def plant(tmp_path):
    site = make_site(tmp_path)
    with open_reading_store(site, read_only=False) as readings, open_interval_store(site, read_only=False) as intervals:
        yield Plant(site, readings, intervals, open_ledger(site, read_only=False))
