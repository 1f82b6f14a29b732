"""`towpath runs approve`, and a run that waits for it."""

from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told
from tests.unit.cli.test_commands import RUN


def test_an_approval_is_sent_and_an_untrusted_run_says_what_it_may_not_do(
    api: FakeApi, towpath: Towpath
) -> None:
    approval = {
        "state": "waiting",
        "expires_at": "2026-12-01T10:00:00Z",
        "approved_at": None,
        "approved_by": None,
    }
    run = {**RUN, "jobs": [], "trusted": False, "trust": "It gets no secrets.", "approval": approval}
    api.answer("GET", "/runs/7", Told(body=run))
    shown = towpath("runs", "show", "7").out
    assert "no. It gets no secrets." in shown
    assert "towpath runs approve 7" in shown
    api.answer("POST", "/runs/7/approve", Told(200, run))
    assert "approval of run 7" in towpath("runs", "approve", "7").out
