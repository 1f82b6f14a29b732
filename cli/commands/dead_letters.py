"""`towpath dead-letters`: lists and shows messages that no handler could process, and replays them."""

from typing import Annotated

import typer

from ..options import AsJson, Limit, api
from ..output import instant, key, print_fields, print_json, print_table, say, short_instant

app = typer.Typer(help="Dead letters: messages that no handler could take. For administrators.")

Letter = Annotated[int, typer.Argument(metavar="ID", min=1)]


@app.command("list")
def listed(
    queue: Annotated[str | None, typer.Option(help="Where they died.")] = None,
    state: Annotated[str | None, typer.Option(help="open or replayed.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Dead letters, the newest first."""
    page = api().items("/dead-letters", limit, queue=queue, state=state)
    if as_json:
        print_json(page)
        return
    columns = [
        ("id", key("id")),
        ("queue", key("queue")),
        ("type", lambda row: row["type"] or "no message"),
        ("cause", key("cause")),
    ]
    columns += [
        ("died", lambda row: short_instant(row["died_at"])),
        ("replayed", lambda row: short_instant(row["replayed_at"])),
    ]
    print_table(page["items"], columns, "no dead letters")


@app.command()
def show(letter: Letter, as_json: AsJson = False) -> None:
    """A dead letter, and why it is one."""
    found = api().get(f"/dead-letters/{letter}")
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            ("id", found["id"]),
            ("queue", found["queue"]),
            ("type", found["type"] or "no message"),
            ("why", found["explanation"]),
            *((name, value) for name, value in found["about"].items() if name not in {"type", "id"}),
            ("size", f"{found['message_bytes']} bytes"),
            ("died", instant(found["died_at"])),
            ("replayed", instant(found["replayed_at"]) if found["replayed_at"] else None),
        ]
    )


@app.command()
def replay(letter: Letter, as_json: AsJson = False) -> None:
    """Publish it again. A second time nothing happens, unless it has died since."""
    found = api().post(f"/dead-letters/{letter}/replay")
    if as_json:
        print_json(found)
        return
    say(f"replayed {found['id']}")
