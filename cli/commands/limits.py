"""`towpath limits`: shows the limits of the gateway."""

from ..options import AsJson, api
from ..output import Row, key, print_json, print_table


def limits(as_json: AsJson = False) -> None:
    """Show the gateway's limits, with the settings that change them."""
    found = api().get("/limits")
    if as_json:
        print_json(found)
        return
    columns = [("limit", _amount), ("setting", key("setting")), ("what it bounds", key("reason"))]
    print_table(found["items"], columns, "no limits")


def _amount(row: Row) -> str:
    return f"{row['value']:,.12g} {row['unit']}"
