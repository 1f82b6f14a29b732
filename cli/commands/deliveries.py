"""`towpath deliveries`: lists the accepted webhooks and their outcomes."""

from typing import Annotated

import typer

from ..client import segment
from ..options import AsJson, Limit, api
from ..output import instant, key, print_fields, print_json, print_table, short_instant

app = typer.Typer(help="Deliveries: accepted webhooks, and what became of each.")

Source = Annotated[str | None, typer.Option(help="github or gitea.")]


@app.command("list")
def listed(
    source: Source = None,
    event_type: Annotated[str | None, typer.Option(help="The forge's word, as push.")] = None,
    outcome: Annotated[
        str | None,
        typer.Option(help="event, ignored, unknown_repository, repository_mismatch, other_hook or failed."),
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Deliveries, the newest first."""
    page = api().items("/deliveries", limit, source=source, event_type=event_type, outcome=outcome)
    if as_json:
        print_json(page)
        return
    columns = [
        ("delivery", key("delivery_id")),
        ("source", key("source")),
        ("type", key("event_type")),
        ("outcome", key("outcome")),
    ]
    columns += [("event", key("event_id")), ("received", lambda row: short_instant(row["received_at"]))]
    print_table(page["items"], columns, "no deliveries", spare={"source"})


@app.command()
def show(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="The forge's own id.")],
    source: Source = None,
    as_json: AsJson = False,
) -> None:
    """A delivery and its outcome."""
    found = api().request("GET", f"/deliveries/{segment(delivery)}", query={"source": source})
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            ("delivery", found["delivery_id"]),
            ("source", found["source"]),
            ("type", found["event_type"]),
            ("received", instant(found["received_at"])),
            ("outcome", found["outcome"] or "not decided yet"),
            ("why", found["reason"]),
            ("event", found["event_id"]),
            ("body", f"{found['body_bytes']} bytes, SHA-256 {found['body_sha256']}"),
            ("through the inlet", found["via_inlet"] or None),
            ("trace", found.get("trace_id")),
        ]
    )
