"""The two works, made once for all tests of the interface: they only read."""

import pytest

from tests.api.works import Caller, application, measured_site


@pytest.fixture(scope="session")
def works(tmp_path_factory):
    return measured_site(tmp_path_factory.mktemp("works"))


@pytest.fixture
def caller(works):
    return Caller(application(works))
