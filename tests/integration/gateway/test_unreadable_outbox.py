"""Outbox rows that their service cannot read become dead letters, which people can see."""

from typing import Any

from tests.harness.waiting import until
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import Serving


async def test_an_outbox_row_of_another_release_is_shown_as_a_dead_letter(
    served: Serving, history: History
) -> None:
    statement = (
        "INSERT INTO outbox (owner, type, message, claimed_until) VALUES ('gateway', 'meteor.fallen', $1, "
        "now())"
    )
    await history.connection.execute(statement, b'{"type": "meteor.fallen", "size": 7}')

    async def letters() -> list[dict[str, Any]]:
        return list((await served.admin.get("/dead-letters?queue=outbox")).expect(200).json["items"])

    (letter,) = await until(letters, within=10, what="the dead letter")
    assert (letter["cause"], letter["type"], letter["can_be_replayed"]) == (
        "unreadable",
        "meteor.fallen",
        False,
    )
    assert letter["about"] == {"type": "meteor.fallen", "size": 7}

    async def is_done() -> bool:
        return await served.count("outbox WHERE type = 'meteor.fallen' AND sent_at IS NULL") == 0

    await until(is_done, within=10, what="the row marked")
