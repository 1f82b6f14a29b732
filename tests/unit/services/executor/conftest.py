"""The shells with which the step driver is tested."""

import pytest

from tests.unit.services.executor.driving import SHELLS


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> list[str]:
    chosen: list[str] = request.param
    return chosen
