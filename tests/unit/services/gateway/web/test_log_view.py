"""The page of a log waits until the log is sealed and the job has its status."""

from typing import Any

import pytest

from services.gateway.web.views.log import JobLog


def over(job_status: str, *attempts: str, shown: int = -1, sealed: bool | None = True) -> bool:
    """Return whether the log of one of these attempts is over. `sealed` None: there is no log."""
    rows: list[dict[str, Any]] = [
        {"number": number, "status": status} for number, status in enumerate(attempts, 1)
    ]
    stream = None if sealed is None else {"is_sealed": sealed}
    job = {"status": job_status, "attempts": rows}
    return JobLog({}, job, rows[shown] if rows else None, "job", stream, frozenset()).is_over


@pytest.mark.parametrize("status", ["success", "failed", "error", "cancelled"])
def test_a_log_is_over_when_it_is_sealed_and_its_job_has_ended(status: str) -> None:
    assert over(status, "finished")
    assert not over(status, "finished", sealed=False)
    assert over(status, sealed=None)


@pytest.mark.parametrize("status", ["running", "pending"])
def test_a_page_waits_for_the_status_that_the_end_of_the_attempt_gives_the_job(status: str) -> None:
    assert not over(status, "finished")
    assert not over(status, "claimed", sealed=False)
    assert not over(status, sealed=None)


def test_the_log_of_an_earlier_attempt_is_over_while_the_job_goes_on() -> None:
    assert over("running", "finished", "claimed", shown=0)
    assert not over("running", "finished", "claimed", sealed=False)
