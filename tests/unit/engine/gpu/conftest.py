"""Tests of what runs on a GPU run on every device that is there; a processor stands in where none is."""

import pytest
from devices import DEVICES


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param
