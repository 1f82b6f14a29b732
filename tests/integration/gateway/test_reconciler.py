"""Bodies are deleted after their retention. The data that recognises a replay is kept."""

from services.gateway.reconciler import BodyRetention
from tests.integration.gateway.serving import Serving


async def test_bodies_of_old_decided_deliveries_are_dropped(served: Serving) -> None:
    for name in ("old", "old-undecided", "new"):
        (await served.deliver(f'{{"name": "{name}"}}'.encode(), X_GitHub_Delivery=name)).expect(202)
    await served.rows(
        "UPDATE deliveries SET created_at = now() - interval '31 days' WHERE delivery_id LIKE 'old%'"
    )
    decided = "SELECT id, 'ignored', 'x' FROM deliveries WHERE delivery_id <> 'old-undecided'"
    await served.rows(f"INSERT INTO delivery_outcomes (delivery_id, outcome, reason) {decided}")
    retention = BodyRetention(served.gateway.store, days=30)

    assert await retention.check() == 1
    assert await retention.check() == 0

    kept = {
        row["delivery_id"]: row["is_kept"]
        for row in await served.rows("SELECT delivery_id, body IS NOT NULL AS is_kept FROM deliveries")
    }
    assert kept == {"old": False, "old-undecided": True, "new": True}
    (await served.deliver(b'{"name": "old"}', X_GitHub_Delivery="replay")).expect(200)
